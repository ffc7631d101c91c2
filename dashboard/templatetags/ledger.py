"""Tags for the lines of the ledger: through what somebody acted, and what became of a setting.

Like those of the desk, they turn values into words, and never decide what a person may see.
"""

from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard import words
from dashboard.templatetags.desk import dated, ink

if TYPE_CHECKING:
    from audit.trail import Line
    from audit.trail.sentences import Piece, Sentence

register = template.Library()

# How the ledger says that a setting was not there.
NOTHING = "nothing"


@register.filter
def thousands(number: int) -> str:
    """Return a number as people read it, as `12,400`."""
    return f"{number:,}"


@register.filter
def surface_word(surface: str) -> str:
    """Return through what something came, as `Discord`."""
    return words.SURFACES.get(surface, surface)


@register.filter
def through(line: "Line") -> str:
    """Return through what somebody acted and from where, as `through Discord, from 10.0.0.7`."""
    surface, address = line.entry.surface, line.details.get("address", "")
    # A worker acts through nothing but itself.
    way = f"through {words.SURFACES.get(surface, surface)}" if surface and surface != "worker" else ""
    return ", ".join(filter(None, (way, address and f"from {address}")))


@register.filter
def turned(line: "Line") -> list[tuple[str, str, str]]:
    """Return what a setting was and is now: by its names where it has names, and of those only what differs."""
    was, now = line.details.get("before", ""), line.details.get("after", "")
    if not was and not now:
        return []
    before, after = _named(was), _named(now)
    if before is None or after is None:
        return [("", "" if was == NOTHING else was, "" if now == NOTHING else now)]
    names = dict.fromkeys((*before, *after))
    return [(name, before.get(name, ""), after.get(name, "")) for name in names if before.get(name) != after.get(name)]


def _named(written: str) -> dict[str, str] | None:
    """Return what `name: value; other: value` says; None for what is written otherwise."""
    parts = [part.partition(": ") for part in written.split("; ")] if written not in ("", NOTHING) else []
    return {name: value for name, _, value in parts} if all(colon for _, colon, _ in parts) else None


@register.simple_tag
def sentence(one: "Sentence") -> SafeString:
    """Return a sentence, each piece shown as its kind is: a tag, because no white space may come between them."""
    return format_html_join("", "{}", ((_piece(piece),) for piece in one.pieces))


def _piece(piece: "Piece") -> SafeString | str:
    if piece.kind == "moment":
        return dated(piece.at)
    if piece.kind == "code":
        return format_html('<span class="mono">{}</span>', ink(piece.text))
    return ink(piece.text) if piece.kind == "theirs" else piece.text
