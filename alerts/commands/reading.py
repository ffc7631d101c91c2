"""/checkinbox and /pending: what came in, and what waits, as far as whoever asks may see it."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.text import cut, escape
from alerts.commands.given import Given
from alerts.commands.places import mailbox_for
from approvals.models import Message
from upstream.agent import Agent

MOST = 10
# All ten of them stay far under the 2,000 characters of an answer.
_SUBJECT, _ADDRESS = 80, 60


def check_inbox(given: Given) -> str:
    """Return the unread mail of a mailbox, the newest first; nothing is marked as read."""
    mailbox = mailbox_for(given, to_write=False)
    connection = mailbox.connection
    agent = Agent(base_url=connection.api_url, key=connection.agent_key)
    rows = agent.unread(mailbox=mailbox.address, most=MOST)
    where = cut(escape(mailbox.address), _ADDRESS)
    if not rows:
        return f"No unread mail in {where}."
    return "\n".join([f"Unread in {where}, the newest first:", *map(_letter, rows)])


def pending(given: Given) -> str:
    """Return what waits for review, of what this person may see, the oldest first, each with its link."""
    waiting = Message.objects.visible_to(given.actor).awaiting_review()
    number = waiting.count()
    if not number:
        return "Nothing waits for review, of what you may see."
    shown = list(waiting.order_by("held_at", "pk")[:MOST])
    begin = f"{number} wait{'s' if number == 1 else ''} for review, the oldest first:"
    more = f"[and {number - len(shown)} more](<{settings.PUBLIC_URL}{reverse('queue')}>)"
    return "\n".join([begin, *map(_waiting, shown), *([more] if number > len(shown) else [])])


def _letter(row: dict[str, Any]) -> str:
    sender = row.get("from") or row.get("from_address") or ""
    number = str(row.get("id") or row.get("message_id") or "").replace("`", "")[:64]
    return f"- **{_subject(row.get('subject'))}** from {cut(escape(str(sender)), _ADDRESS)} `{number}`"


def _waiting(message: Message) -> str:
    link = f"{settings.PUBLIC_URL}{reverse('message', kwargs={'public_id': message.public_id})}"
    to = ", ".join(map(str, message.recipients[:3]))
    return f"- [{_subject(message.subject)}](<{link}>) to {cut(escape(to), _ADDRESS)}"


def _subject(text: Any) -> str:
    return cut(escape(str(text or "")), _SUBJECT) or "(no subject)"
