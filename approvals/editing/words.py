"""What was changed, as the agent, the ledger and the next reviewer get it."""

import difflib
from collections.abc import Sequence
from typing import Any

from approvals.decisions.forms import MAX_REASON, MAX_SUGGESTION
from approvals.models import Replacement
from common.fingerprint import Content, normalise_address
from policy.rules.rules import listed

_LABELS = {"to": "To", "cc": "Cc", "bcc": "Bcc", "subject": "Subject"}
_WORDS = {
    "to": "the recipients",
    "cc": "the recipients",
    "bcc": "the recipients",
    "subject": "the subject",
}
# How much of a difference the ledger keeps as text; the two versions are kept whole.
MAX_DIFFERENCE = 50_000
# Lines of both texts together; comparing takes time that grows with their square.
MOST_LINES = 6_000


def changed_fields(first: Content, edited: Replacement) -> list[dict[str, str]]:
    """Return the header fields that differ, each with its value before and after;
    recipients are one line.
    """
    found = []
    for name in _LABELS:
        before = _one_line(getattr(first, name))
        after = _one_line(getattr(edited, name))
        if before != after:
            found.append({"field": name, "before": before, "after": after})
    return found


def _one_line(value: str | Sequence[str]) -> str:
    """Return a subject as it is, and addresses as the fingerprint compares them."""
    return value if isinstance(value, str) else ", ".join(map(normalise_address, value))


def is_text_changed(first: Content, edited: Replacement) -> bool:
    """Whether the body differs, but for how its lines end."""
    return (first.markdown or "").replace(
        "\r\n", "\n"
    ).rstrip() != edited.markdown.rstrip()


def summary(first: Content, edited: Replacement) -> str:
    """Return which parts were changed, for a sentence: "the subject and the text"."""
    parts = [_WORDS[one["field"]] for one in changed_fields(first, edited)]
    if is_text_changed(first, edited):
        parts.append("the text")
    return listed(tuple(dict.fromkeys(parts))) or "nothing"


def difference_in_words(first: Content, edited: Replacement) -> str:
    """Return the whole difference as text: fields before and after, and the changed
    lines of the body.
    """
    lines = [
        f"{_LABELS[one['field']]}: {one['before'] or 'nobody'} → {one['after'] or 'nobody'}"
        for one in changed_fields(first, edited)
    ]
    if is_text_changed(first, edited):
        before = (first.markdown or "").splitlines()
        after = edited.markdown.splitlines()
        if len(before) + len(after) > MOST_LINES:
            lines.append(
                "The text was changed; it has too many lines to show which. Both versions are kept whole."
            )
        else:
            lines += difflib.unified_diff(
                before, after, "first version", "corrected version", lineterm="", n=1
            )
    text = "\n".join(lines)
    return text if len(text) <= MAX_DIFFERENCE else f"{text[:MAX_DIFFERENCE]}\n[cut]"


def reason_of(edited: Replacement, first: Content) -> str:
    """Return the reason with which the first message is rejected: the agent reads it."""
    note = f" {edited.note}" if edited.note else ""
    return (
        f"Replaced by {edited.upstream_id}: {edited.person} corrected {summary(first, edited)} and sent it for review. "
        f"Do not send it again.{note}{fields_in_words(first, edited)}"
    )[:MAX_REASON]


def fields_in_words(first: Content, edited: Replacement) -> str:
    """Return the changed header fields as lines, each with its new value, cut where it
    is long.
    """
    changes = changed_fields(first, edited)
    return "".join(
        f"\n{_LABELS[one['field']]} is now: {one['after'][:200] or 'nobody'}"
        for one in changes
    )


def suggestion_of(edited: Replacement, first: Content) -> dict[str, Any]:
    """Return the changed fields and the changed text as data; a text that is too long
    is left out.
    """
    feedback: dict[str, Any] = {}
    if is_text_changed(first, edited) and len(edited.markdown) <= MAX_SUGGESTION:
        feedback["suggested_markdown"] = edited.markdown
    if changes := changed_fields(first, edited):
        feedback["changes"] = changes
    return feedback
