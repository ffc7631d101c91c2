"""What the tags of a mail are to us: which stay, which stand for others, which are seen by some recipients only."""

from collections.abc import Iterable, Mapping

from rendering.colours import attribute_colour
from rendering.sanitise import PARSED_TAGS, TREE_TAGS
from rendering.tokens import decode

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
    "details": "inside a box that opens on a press",
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
# What these say stands in an attribute.
LABELLED = {"option": "label", "optgroup": "label", "textarea": "placeholder"}
# The only ones whose ground an attribute paints.
_PAINTED = frozenset("body table thead tbody tfoot tr td th marquee".split())
_FLOATED = frozenset({"table", "object", "iframe", "img"})
# What an element is called besides what it says: shown beside the pointer, read aloud, or in place of a picture.
LABELS = ("title", "aria-label")
PICTURE_LABELS = ("alt", *LABELS)
PICTURE_ATTRIBUTES = ("src", "width", "height", *PICTURE_LABELS)
_FONT_SIZES = {"1": "10px", "2": "13px", "3": "16px", "4": "18px", "5": "24px", "6": "32px", "7": "48px"}


def written_as(name: str) -> str:
    """Return the tag that stands for `name` in the plain form: itself, or a block or span where it is unknown."""
    if name in TREE_TAGS or name in PARSED_TAGS:
        return name
    return "div" if name in AS_BLOCK else "span"


def labels_in(attributes: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """Return what these attributes call an element, without empty ones."""
    found = (decode(attributes[name], attribute=True) for name in names if name in attributes)
    return tuple(label for label in found if label.strip())


def old_attributes(name: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """Return what the attributes that came before CSS say, as CSS."""
    style: dict[str, str] = {}
    if "bgcolor" in attributes and name in _PAINTED:
        style["background-color"] = attribute_colour(decode(attributes["bgcolor"], attribute=True))
    if "color" in attributes and name == "font":
        style["color"] = attribute_colour(decode(attributes["color"], attribute=True))
    if "text" in attributes and name == "body":
        style["color"] = attribute_colour(decode(attributes["text"], attribute=True))
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
