"""Tags for the lines of the ledger: through what somebody acted, and what became of a
setting.

Like those of the desk, they turn values into words, and never decide what a person may
see.
"""

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django import template
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst

from common.references import is_reference
from dashboard import words
from dashboard.templatetags.desk import (
    age,
    dated,
    event_sentence,
    facts,
    ink,
    moment,
    short,
    tone,
)

if TYPE_CHECKING:
    from uuid import UUID

    from audit.models import Entry
    from audit.trail.sentences import Sentence

register = template.Library()

# How the ledger says that a setting was not there.
NOTHING = "nothing"


@register.filter
def surface_word(surface: str) -> str:
    """Return through what something came, as `Discord`."""
    return words.SURFACES.get(surface, surface)


@register.filter
def through(line: "Entry") -> str:
    """Return through what somebody acted and from where, as `through Discord, from
    10.0.0.7`.
    """
    surface = line.surface
    address = line.details.get("address", "")
    parts = []
    # A worker acts through nothing but itself.
    if surface and surface != "worker":
        parts.append(f"through {surface_word(surface)}")
    if address:
        parts.append(f"from {address}")
    return ", ".join(parts)


def turned(line: "Entry") -> list[tuple[str, str, str]]:
    """Return what a setting was and is now: by its names where it has names, and of
    those only what differs.
    """
    was = line.details.get("before", "")
    now = line.details.get("after", "")
    if not was and not now:
        return []
    before = _named(was)
    after = _named(now)
    if before is None or after is None:
        return [("", "" if was == NOTHING else was, "" if now == NOTHING else now)]
    names = dict.fromkeys((*before, *after))
    return [
        (name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _named(written: str) -> dict[str, str] | None:
    """Return what `name: value; other: value` says; None for what is written otherwise."""
    if written in ("", NOTHING):
        return {}
    parts = [part.partition(": ") for part in written.split("; ")]
    if not all(colon for _, colon, _ in parts):
        return None
    return {name: value for name, _, value in parts}


_LINE = """<li id="line-{}" class="{}">
  <div class="line">
    <span class="when">{}</span>
    <span class="what"><strong>{}</strong>
      {}{}
      {}</span>
    <span class="where"><span>{}</span>{}{}</span>
  </div>
</li>"""


@register.simple_tag
def ledger_line(
    line: "Entry", *, links: bool = False, brief: bool = False
) -> SafeString:
    """Return an entry as one of a list: a tag, because a page holds a hundred of them."""
    message: SafeString | str = ""
    if links and line.message:
        subject = ink(Truncator(line.subject).chars(140) or "a message")
        form = ': <a class="text-link" href="{}">{}</a>'
        message = format_html(form, _trace(line.message), subject)
    mark: SafeString | str = ""
    if version := line.fingerprint:
        form = '<span class="mono" title="{1}">{0}</span>'
        if links and not brief:
            form = '<a class="mono" href="{2}?fingerprint={0}" title="All about {1}">{0}</a>'
        mark = format_html(form, short(version), version, _audit())
    form = "" if brief else ' <span class="nums" title="Entry number">#{}</span>'
    number = format_html(form, line.pk)
    return format_html(
        _LINE,
        line.pk,
        tone(line.action),
        age(line.at) if brief else moment(line.at),
        ink(capfirst(line.actor)),
        event_sentence(line),
        message,
        line_details(line, turned(line), brief=brief),
        through(line),
        mark,
        number,
    )


@cache
def _audit() -> str:
    return reverse("audit")


# A page tells of the same few messages again and again.
@lru_cache(maxsize=1000)
def _trace(message: "UUID | None") -> str:
    return reverse("trace", args=[message])


@register.simple_tag
def line_details(
    line: "Entry",
    change: list[tuple[str, str, str]] | None = None,
    *,
    brief: bool = False,
) -> SafeString:
    """Return what an entry says besides its sentence: a tag, because a page holds a
    hundred of them.
    """
    reason = line.details.get("reason", "")
    explanation = line.details.get("explanation", "")
    parts: list[SafeString | str] = []
    if is_reference(reason):
        form = 'With our reference <span class="mono">{}</span>'
        parts += [] if brief else [_more(form, reason)]
    elif reason:
        parts.append(_more("Reason: <q>{}</q>", reason))
    if explanation:
        parts.append(_more("{}", explanation))
    if not brief:
        if line.is_redacted:
            removed = "Personal details were removed."
            parts.append(format_html('<span class="more faint">{}</span>', removed))
        if change:
            turns = format_html_join("", "{}", ((_turn(*one),) for one in change))
            parts.append(format_html('<span class="more turned">{}</span>', turns))
        rows = ((name, ink(value)) for name, value in facts(line))
        parts.append(
            format_html('<dl class="facts">{}</dl>', format_html_join("", _FACT, rows))
        )
    return format_html_join("\n", "{}", ((part,) for part in parts))


# The space parts the name from the value: both stand in one line.
_FACT = "<div><dt>{}</dt> <dd>{}</dd></div>"


def _more(form: str, text: str) -> SafeString:
    return format_html(f'<span class="more">{form}</span>', ink(text))


def _turn(name: str, old: str, new: str) -> SafeString:
    form = "<span>"
    if name:
        form += '<span class="faint">{}:</span> '
    if old:
        form += '<del><span class="sr-only">was </span>{}</del>'
    if old and new:
        form += ' <span aria-hidden="true">→</span> '
    if new:
        form += '<ins><span class="sr-only">is </span>{}</ins>'
    shown = [ink(text) for text in (capfirst(name), old, new) if text]
    return format_html(f"{form}</span>", *shown)


@register.simple_tag
def sentence(one: "Sentence") -> SafeString:
    """Return a sentence, each piece shown as its kind is: a tag, because no white space
    may come between them.
    """
    shown: list[SafeString | str] = []
    for piece in one:
        if piece.kind == "moment":
            shown.append(dated(piece.at))
        elif piece.kind == "code":
            shown.append(format_html('<span class="mono">{}</span>', ink(piece.text)))
        else:
            shown.append(ink(piece.text) if piece.kind == "theirs" else piece.text)
    return format_html_join("", "{}", ((part,) for part in shown))
