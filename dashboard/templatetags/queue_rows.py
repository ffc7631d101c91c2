"""The template tag for a message's row in the queue. A page has fifty rows, and a tag
is faster than an included template.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from dashboard.templatetags.desk import age, ago, icon, ink, lasting, shortened

if TYPE_CHECKING:
    from approvals.queue.rows import Row

register = template.Library()

_PICK = """<span class="picks"><input type="checkbox" class="pick" name="id" form="bulk"
  value="{}" aria-label="{}"></span>"""
# The list has `hx-target`, and its links inherit it.
_LINK = """<a class="item{}" href="{}" hx-get="{}" data-message="{}"{}{}>{}
  <span class="subject clip">{}</span>
  <span class="row wrap marks">{}</span></a>"""
_TEST = '<span class="chip plain" title="Sandbox message: nobody receives it">{}</span>'
_FIRST_LINE = '<span class="row"><span class="to clip">{}</span>{} <span class="age">{}</span></span>'
_STATUS = '<span class="chip shape {}" data-chip{}>{}</span>'
_APPROVALS = '<span class="chip shape blue" data-approvals>{}</span>'
_SINCE = '<span class="by became"><span data-detail>{}</span> <span data-when>{}</span></span>'


@register.simple_tag(takes_context=True)
def message_row(context: Mapping[str, Any], row: "Row") -> SafeString:
    """Return the link to a message, with its correspondent, age, subject and marks, and
    before it the checkbox that selects the message.

    What a sender wrote goes through `ink`, which draws invisible characters.
    """
    message = row.message
    if message.is_inbound:
        sender = ink(message.sender or "sender not known")
        correspondent = format_html('<span class="quiet">From</span> {}', sender)
    elif message.recipients:
        correspondent = ink(message.recipients[0])
    else:
        correspondent = _span("quiet", "Recipient not known yet")
    address = f"{row.url}{context['queue_query']}"
    is_open = message == context.get("message")
    link = format_html(
        _LINK,
        " done" if context["tab"] == "waiting" and row.is_decided else "",
        address,
        address,
        message.public_id,
        "" if message.revision_id else " data-fetching",
        format_html(' aria-current="{}"', "true") if is_open else "",
        format_html(
            _FIRST_LINE,
            correspondent,
            _span("faint", f"+{row.more_recipients}") if row.more_recipients else "",
            age(message.held_at),
        ),
        ink(shortened(message.subject, 300))
        if message.subject
        else _span("quiet", str(message)),
        format_html_join(" ", "{}", ((mark,) for mark in _marks(row))),
    )
    if not context["can_pick"]:
        return link
    return format_html(
        "{}{}",
        format_html(
            _PICK, message.public_id, f"Select: {shortened(str(message), 200)}"
        ),
        link,
    )


def _marks(row: "Row") -> Iterator[SafeString]:
    """Yield the marks under the subject, the most important first."""
    message = row.message
    again = " again" if row.is_held_again else ""
    # Nearly all rows of the queue would say "Held", so that is hidden. Scripts show the
    # status when it changes.
    is_plainly_held = row.is_held and not row.is_held_again
    yield _formatted(
        _STATUS,
        row.css_classes,
        " hidden" if is_plainly_held else "",
        f"{row.status.word}{again}",
    )
    yield _formatted(
        _SINCE,
        *(
            ("", "")
            if row.is_held
            else (row.status.detail, ago(row.decided_or_changed_at))
        ),
    )
    yield from _warnings(row)
    yield from _people(row)
    if message.mailbox:
        yield _chip("", message.mailbox.short_name)
    if message.sandbox:
        yield _formatted(_TEST, "Test")
    if row.more_recipients and message.revision_id:
        # How many recipients are outside of the organization's own domains.
        yield _span(
            "by", f"{message.outside} outside" if message.outside else "all inside"
        )
    if row.starter:
        yield _formatted(
            '<span class="by">{}<span class="clip">{}</span></span>',
            icon("chat" if row.discord_user else "key"),
            ink(row.starter),
        )
    if row.expiry and not row.expiry.is_soon:
        yield format_html(
            '<span class="by">{}{} left</span>', icon("clock"), lasting(row.expiry.at)
        )


def _warnings(row: "Row") -> Iterator[SafeString]:
    """Yield the marks for what needs attention: a report that is not confirmed yet,
    lateness, risk, a repeated try, expiry, missing content.
    """
    message = row.message
    expiry = row.expiry
    if row.reported:
        yield _chip("amber shape", f"{row.reported} · being checked")
    if row.late_since:
        yield _chip(
            "rose", format_html("{}Late by {}", icon("clock"), lasting(row.late_since))
        )
    if message.review.risk_level == "high":
        words = f"High: {row.reasons}" if row.reasons else "High"
        yield _chip("shape rose", _span("clip", words))
    elif message.review.risk_level:
        yield _chip("shape amber", _span("clip", capfirst(row.reasons) or "Notice"))
    if message.try_number > 1:
        yield _chip("violet shape", f"Try {message.try_number}")
    if expiry and expiry.is_over:
        yield _chip("rose", format_html("{}{}", icon("clock"), "Expired"))
    elif expiry and expiry.is_soon:
        form = "{}<span>Expires in {}</span>"
        left = format_html(form, icon("clock"), lasting(expiry.at))
        yield _chip("rose" if expiry.is_near else "amber", left)
    if not message.revision_id and message.state == "held":
        if message.is_given_up:
            yield _chip("shape rose", "Could not be read")
        else:
            yield _chip("", "Fetching")


def _people(row: "Row") -> Iterator[SafeString]:
    """Yield the marks about people: how many approved the message, who has claimed it,
    and whether the viewer has a reminder or a question about it.
    """
    demand = row.demand if row.is_held else None
    if demand and demand.takes_several:
        own_approval = ", by you too" if demand.has_approved else ""
        yield _formatted(_APPROVALS, f"{demand.progress} approved{own_approval}")
    if demand and demand.warning:
        words = "Too few people may approve: ask an admin"
        yield _chip("shape rose", format_html("{}{}", icon("warn"), words))
    if row.holder:
        # While the page is open, scripts update the name of whoever has claimed the
        # message, but not that of an assignment.
        mark = (
            "data-assigned" if row.claim and row.claim.is_assigned else "data-held-by"
        )
        form = '<span class="chip violet" {}>{}<span>{}</span></span>'
        yield format_html(form, mark, icon("person"), row.holder)
    if row.is_reminded:
        yield _chip("violet shape", "Reminder")
    if row.asked_by:
        yield _chip("violet shape", f"Question from {row.asked_by}")


def _chip(look: str, words: SafeString | str) -> SafeString:
    return _span(f"chip {look}".rstrip(), words)


def _span(look: str, words: SafeString | str) -> SafeString:
    return _formatted('<span class="{}">{}</span>', look, words)


# Cached, because most rows of a page have the same marks. With `typed`, escaped text (a
# SafeString) is not taken for equal text that has yet to be escaped.
@lru_cache(maxsize=1000, typed=True)
def _formatted(form: str, *words: SafeString | str) -> SafeString:
    return format_html(form, *words)
