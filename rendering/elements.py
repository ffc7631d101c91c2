"""What the tags of a message mean: which stay, which some recipients see, and what they would load or do."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rendering.colours import attribute_colour
from rendering.css import cleaned, fetches
from rendering.html_reading import Token, decode_attribute
from rendering.links import host_of, is_remote, short_target
from rendering.result import Blocked
from rendering.sanitise import PARSED_TAGS, TREE_TAGS

AS_BLOCK = frozenset("hgroup search template datalist".split())
PASSED_OVER = frozenset(
    "html head body base link meta script style param source track noscript img image input area title "
    "iframe noembed noframes xmp plaintext textarea frame embed bgsound keygen basefont".split()
)
FOREIGN = frozenset({"svg", "math"})
INSIDE_FOREIGN = frozenset("foreignobject desc annotation-xml mi mo mn ms mtext".split())  # HTML goes on in these
# These end a drawing or formula they stand in, by the standard.
BREAKS_OUT = frozenset(
    "b big blockquote body br center code dd div dl dt em embed font h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var".split()
)
RAW_SHOWN = frozenset({"xmp", "textarea"})
CLOSED_BY_DEFAULT = {
    "template": "template element",
    "dialog": "closed dialog",
    "datalist": "list of suggestions",
    "rp": "ruby parenthesis",
}
STYLED_BY_DEFAULT = frozenset({*CLOSED_BY_DEFAULT, "legend", "bdo"})
# Drawn by some mail programs only, or in part.
SOMETIMES_SEEN = {
    "svg": "inside a drawing",
    "math": "inside a formula",
    "details": "inside a box that opens on a click",
    "select": "inside a list of choices",
    "option": "inside a list of choices",
    "optgroup": "inside a list of choices",
    "object": "in place of an embedded object",
    "applet": "in place of an embedded object",
    "video": "in place of a video",
    "audio": "in place of a sound",
    "canvas": "in place of a canvas",
    "meter": "in place of a meter",
    "progress": "in place of a meter",
    "marquee": "in text that moves",
    "frameset": "in place of a page of frames",
}
# The text of these elements is in an attribute.
LABELLED = {"option": "label", "optgroup": "label", "textarea": "placeholder"}
# The only elements with a background attribute.
_PAINTED = frozenset("body table thead tbody tfoot tr td th marquee".split())
_FLOATED = frozenset({"table", "object", "iframe", "img"})
# Texts of an element outside its content: shown as a tooltip, read aloud, or instead of a picture.
LABELS = ("title", "aria-label")
PICTURE_LABELS = ("alt", *LABELS)
PICTURE_ATTRIBUTES = ("src", "width", "height", *PICTURE_LABELS)
_FONT_SIZES = {"1": "10px", "2": "13px", "3": "16px", "4": "18px", "5": "24px", "6": "32px", "7": "48px"}


def written_as(name: str) -> str:
    """Return the tag that `name` is written as in the plain form: itself, or a block or span where it is unknown."""
    if name in TREE_TAGS or name in PARSED_TAGS:
        return name
    return "div" if name in AS_BLOCK else "span"


def labels_in(attributes: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the texts of these attributes, without empty ones."""
    found = (decode_attribute(attributes[name]) for name in names if name in attributes)
    return tuple(label for label in found if label.strip())


def old_attributes(name: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """Return what the attributes that came before CSS say, as CSS."""
    style: dict[str, str] = {}
    if "bgcolor" in attributes and name in _PAINTED:
        style["background-color"] = attribute_colour(decode_attribute(attributes["bgcolor"]))
    if "color" in attributes and name == "font":
        style["color"] = attribute_colour(decode_attribute(attributes["color"]))
    if "text" in attributes and name == "body":
        style["color"] = attribute_colour(decode_attribute(attributes["text"]))
    if name == "font" and "size" in attributes:
        style["font-size"] = _FONT_SIZES.get(attributes["size"].strip(), "")
    if attributes.get("dir", "").strip().lower() in ("rtl", "ltr"):
        style |= {"direction": attributes["dir"].strip().lower(), "unicode-bidi": "isolate"}
    if name == "bdo":
        style["unicode-bidi"] = "bidi-override"
    if name == "dialog":
        style["position"] = "absolute"
    if name == "legend":
        style["display"] = "table-caption"  # it stands at the top of its group, wherever it is written
    align = attributes.get("align", "").strip().lower()
    if name in _FLOATED and align in ("left", "right"):
        style["float"] = align
    elif align in ("left", "right", "center", "justify"):
        style["text-align"] = align
    return style


# What these would load; any other element loads a picture.
_KINDS = {
    **dict.fromkeys(("iframe", "frame", "portal"), "embedded page"),
    **dict.fromkeys(("object", "embed", "applet"), "embedded object"),
    **dict.fromkeys(("audio", "bgsound"), "sound"),
    **dict.fromkeys(("source", "track"), "media"),
    "video": "video",
    "script": "script",
    "link": "style sheet",
    "form": "form",
}
# Not here are longdesc, cite, profile, icon and classid, which are common and not loaded when a message is opened.
_FETCHING = (
    "src srcset imagesrcset lowsrc dynsrc poster background data code codebase archive xlink:href action formaction "
    "manifest ping".split()
)


class Load(NamedTuple):
    """One thing that would be fetched. `quiet` ones are counted but get no label in the message."""

    kind: str
    url: str
    quiet: bool


def loads_of(name: str, attributes: Mapping[str, str]) -> list[Load]:
    """Return everything a tag would fetch or send to. The label of a picture is drawn with the picture."""
    found: list[Load] = []
    if not attributes:
        return found
    kind = _KINDS.get(name, "picture")
    for attribute in _FETCHING:
        if attribute in attributes:
            found += _of_attribute(name, kind, attribute, decode_attribute(attributes[attribute]))
    if name not in ("a", "area", "base") and "href" in attributes:
        target = decode_attribute(attributes["href"])
        if is_remote(target):
            sheet = name != "link" or "stylesheet" in attributes.get("rel", "").lower()
            found.append(Load(kind if sheet else "prefetch", target, name in ("img", "image") or not sheet))
    if name == "meta" and attributes.get("http-equiv", "").strip().lower() == "refresh":
        target = decode_attribute(attributes.get("content", "")).partition("=")[2].strip(" '\"")
        found.append(Load("jump to another page", target, False))
    if "style" in attributes:
        style = cleaned(decode_attribute(attributes["style"]))
        found += [Load("background picture", url, True) for url in fetches(style)]
    if name == "iframe" and "srcdoc" in attributes:
        found.append(Load("embedded page", "about:srcdoc", False))
    return found


def restyles(token: Token) -> str:
    """Return how a tag restyles the whole message in a way that is not followed here; empty where it does not."""
    attributes = {name: decode_attribute(value).strip().lower() for name, value in token.attributes.items()}
    if (
        token.name == "link"
        and "stylesheet" in attributes.get("rel", "")
        and attributes.get("href", "").startswith("data:")
    ):
        return "a style sheet inside an address, which may hide text"
    if (
        token.name == "meta"
        and attributes.get("name") == "color-scheme"
        and "light" not in attributes.get("content", "light")
    ):
        return "a dark colour scheme, in which text may be hidden"
    return ""


def blocked_load(kind: str, url: str) -> Blocked:
    """Return the record of something that was not loaded; long addresses are cut."""
    return Blocked(kind, url[:2000], host_of(url))


def load_target(item: Blocked) -> str:
    """Return where something would have been loaded from, as its label says it."""
    return short_target(item.url)[:200] or "nowhere"


def load_label(item: Blocked) -> str:
    """Return the label that replaces something that was left out."""
    if item.kind == "form":
        return f"form that would be sent to {load_target(item)}"
    if item.kind == "jump to another page":
        return f"would jump to {load_target(item)}"
    return f"{item.kind} not loaded: {load_target(item)}"


def _of_attribute(name: str, kind: str, attribute: str, value: str) -> list[Load]:
    if attribute in ("srcset", "imagesrcset"):
        urls = [part.split()[0] for part in value.split(",") if part.split()]
    elif attribute == "ping":
        urls = value.split()
    else:
        urls = [value]
    if attribute in ("action", "formaction"):
        kind = "form"
    if attribute == "background":
        kind = "background picture"
    if attribute == "ping":
        kind = "report of a click"
    # The first address of a picture is labelled with the picture; that of a form on a line of its own.
    own_label = name in ("img", "image") or attribute in ("background", "ping", "srcset", "imagesrcset")
    return [Load(kind, url, own_label) for url in urls if is_remote(url)]
