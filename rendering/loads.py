"""What the tags of a mail would fetch from elsewhere, or do to the page, if they were let."""

from collections.abc import Mapping
from typing import NamedTuple

from rendering.css import cleaned, fetches
from rendering.links import host_of, is_remote, short_target
from rendering.shown import Blocked
from rendering.tokens import Token, decode

_KINDS = {
    "img": "picture",
    "image": "picture",
    "input": "picture",
    "iframe": "embedded page",
    "frame": "embedded page",
    "object": "embedded object",
    "embed": "embedded object",
    "applet": "embedded object",
    "portal": "embedded page",
    "video": "video",
    "audio": "sound",
    "source": "media",
    "track": "media",
    "bgsound": "sound",
    "script": "script",
    "link": "style sheet",
    "form": "form",
    "use": "picture",
    "feimage": "picture",
}
_FETCHING = (
    "src",
    "srcset",
    "imagesrcset",
    "lowsrc",
    "dynsrc",
    "poster",
    "background",
    "data",
    "code",
    "codebase",
    "classid",
    "archive",
    "xlink:href",
    "action",
    "formaction",
    "manifest",
    "ping",
    "longdesc",
    "cite",
    "profile",
    "icon",
)
# Read by nobody on opening a mail, and common: left out without a word.
_NEVER_FETCHED = frozenset({"longdesc", "cite", "profile", "icon", "classid"})


class Load(NamedTuple):
    """One thing that would be fetched. `quiet` ones are counted but get no label of their own in the letter."""

    kind: str
    url: str
    quiet: bool


def of_tag(name: str, attributes: Mapping[str, str]) -> list[Load]:
    """Return everything a tag would fetch or send to. Who lays out a picture draws its label."""
    found: list[Load] = []
    if not attributes:
        return found
    kind = _KINDS.get(name, "picture")
    for attribute in _FETCHING:
        if attribute in attributes and attribute not in _NEVER_FETCHED:
            found += _of_attribute(name, kind, attribute, decode(attributes[attribute], attribute=True))
    if name not in ("a", "area", "base") and "href" in attributes:
        target = decode(attributes["href"], attribute=True)
        if is_remote(target):
            sheet = name != "link" or "stylesheet" in attributes.get("rel", "").lower()
            found.append(Load(kind if sheet else "prefetch", target, name in ("img", "image") or not sheet))
    if name == "meta" and attributes.get("http-equiv", "").strip().lower() == "refresh":
        target = decode(attributes.get("content", ""), attribute=True).partition("=")[2].strip(" '\"")
        found.append(Load("jump to another page", target, False))
    if "style" in attributes:
        style = cleaned(decode(attributes["style"], attribute=True))
        found += [Load("background picture", url, True) for url in fetches(style)]
    if name == "iframe" and "srcdoc" in attributes:
        found.append(Load("embedded page", "about:srcdoc", False))
    return found


def restyles(token: Token) -> str:
    """Return how a tag changes the looks of the whole message in a way that is not followed; empty for other tags."""
    given = {name: decode(value, attribute=True).strip().lower() for name, value in token.attributes.items()}
    if token.name == "link" and "stylesheet" in given.get("rel", "") and given.get("href", "").startswith("data:"):
        return "a style sheet inside an address, which may hide text"
    if token.name == "meta" and given.get("name") == "color-scheme" and "light" not in given.get("content", "light"):
        return "a dark colour scheme, in which text may be hidden"
    return ""


def blocked(kind: str, url: str) -> Blocked:
    """Return the record of something that was not loaded; long addresses are cut."""
    return Blocked(kind, url[:2000], host_of(url))


def short(item: Blocked) -> str:
    """Return where something would have been loaded from, as a label says it."""
    return short_target(item.url)[:200] or "nowhere"


def label(item: Blocked) -> str:
    """Return what stands in the letter where something was left out."""
    if item.kind == "form":
        return f"form that would be sent to {short(item)}"
    if item.kind == "jump to another page":
        return f"would jump to {short(item)}"
    return f"{item.kind} not loaded: {short(item)}"


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
    # A picture's first address gets its label from the picture itself; a form's goes to its own line.
    own_label = name in ("img", "image") or attribute in ("background", "ping", "srcset", "imagesrcset")
    return [Load(kind, url, own_label) for url in urls if is_remote(url)]
