"""Template tags that show entries of the ledger: an entry as an item of a list, its
details, and what changed in a setting.

They turn values into words and markup, and never decide what a person may see.
"""

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django import template
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from common.references import is_reference
from dashboard import words
from dashboard.templatetags.desk import (
    age,
    dated,
    event_sentence,
    facts,
    ink,
    joined,
    moment,
    short,
    shortened,
    tone,
)

if TYPE_CHECKING:
    from uuid import UUID

    from audit.models import Entry
    from audit.trail.sentences import Sentence

register = template.Library()

# What the ledger has as the value of a setting that did not exist.
NOTHING = "nothing"


@register.filter
def surface_word(surface: str) -> str:
    """Return the word for a surface, as `Discord`: through what somebody acted."""
    return words.SURFACES.get(surface, surface)


@register.filter
def through(line: "Entry") -> str:
    """Return through what somebody acted and from which address, as `through Discord,
    from 10.0.0.7`.
    """
    surface = line.surface
    address = line.details.get("address", "")
    parts = []
    # A worker is the actor itself, so nothing needs to be said.
    if surface and surface != "worker":
        parts.append(f"through {surface_word(surface)}")
    if address:
        parts.append(f"from {address}")
    return ", ".join(parts)


def turned(line: "Entry") -> list[tuple[str, str, str]]:
    """Return the values of a setting before and after a change: tuples of name, old
    value and new value. If the setting has several named values, only those that
    differ; otherwise one tuple without a name.
    """
    old = line.details.get("before", "")
    new = line.details.get("after", "")
    if not old and not new:
        return []
    before = _named(old)
    after = _named(new)
    if before is None or after is None:
        return [("", "" if old == NOTHING else old, "" if new == NOTHING else new)]
    return [
        (name, before.get(name, ""), after.get(name, ""))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def _named(written: str) -> dict[str, str] | None:
    """Parse `name: value; other: value` into values by name. Return None if the text
    has another form.
    """
    if written in ("", NOTHING):
        return {}
    parts = [part.partition(": ") for part in written.split("; ")]
    if not all(colon for _, colon, _ in parts):
        return None
    return {name: value for name, _, value in parts}


_LINE = """<li id="line-{}" class="{}">
  <div class="line">
    <span class="faint small when">{}</span>
    <span class="what"><strong>{}</strong>
      {}{}
      {}</span>
    <span class="row wrap faint small where"><span>{}</span>{}{}</span>
  </div>
</li>"""


@register.simple_tag
def ledger_line(
    line: "Entry", *, links: bool = False, brief: bool = False
) -> SafeString:
    """Return an entry as an item of a list. This is a tag and not an included template,
    which would be slow for the hundred entries of a page.

    `links`: with links to the message and to all entries with its fingerprint. `brief`:
    without details.
    """
    message: SafeString | str = ""
    if links and line.message:
        subject = ink(shortened(line.subject, 140) or "a message")
        form = ': <a class="text-link" href="{}">{}</a>'
        message = format_html(form, _trace(line.message), subject)
    mark: SafeString | str = ""
    if version := line.fingerprint:
        form = '<span class="mono" title="{1}">{0}</span>'
        if links and not brief:
            form = '<a class="mono" href="{2}?fingerprint={1}" title="All about {1}">{0}</a>'
        mark = format_html(form, short(version), version, _audit())
    form = "" if brief else ' <span class="nums" title="Entry number">#{}</span>'
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
        format_html(form, line.pk),
    )


@cache
def _audit() -> str:
    return reverse("audit")


# The entries of a page are about few messages, so their URLs are cached.
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
    """Return what an entry says besides its sentence: reason, explanation, and the
    details. `change` is what `turned` returns. With `brief` only reason and
    explanation.
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
            turns = joined(_turn(*one) for one in change)
            parts.append(format_html('<span class="more turned">{}</span>', turns))
        rows = ((name, ink(value)) for name, value in facts(line))
        parts.append(
            format_html(
                '<dl class="quiet small facts">{}</dl>',
                format_html_join("", _FACT, rows),
            )
        )
    return format_html_join("\n", "{}", ((part,) for part in parts))


# Name and value are shown in one line, so the space between them matters.
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
    texts = [ink(text) for text in (capfirst(name), old, new) if text]
    return format_html(f"{form}</span>", *texts)


@register.simple_tag
def sentence(one: "Sentence") -> SafeString:
    """Return a sentence of the ledger as HTML, each piece shown according to its kind.
    This is a tag, because in a template white space would come between the pieces.
    """
    html: list[SafeString | str] = []
    for piece in one:
        if piece.kind == "moment":
            html.append(dated(piece.at))
        elif piece.kind == "code":
            html.append(format_html('<span class="mono">{}</span>', ink(piece.text)))
        else:
            html.append(ink(piece.text) if piece.kind == "theirs" else piece.text)
    return joined(html)
