"""/checkinbox and /pending: what came in, and what waits, as far as whoever asks may
see it.
"""

from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.markup import units
from alerts.channels.discord.commands.command import Command
from alerts.channels.discord.commands.mail import agent_of
from alerts.channels.discord.commands.mailboxes import mailbox_for
from alerts.channels.discord.markdown import literal
from alerts.channels.discord.replies import MAX_CONTENT
from approvals.desk_messages import desk_messages

MAX_ROWS = 10
_SUBJECT = 80
_ADDRESS = 60
_ID = 200


def check_inbox(command: Command) -> str:
    """Return the unread mail of a mailbox, the newest first; nothing is marked as read."""
    mailbox = mailbox_for(command, to_write=False)
    rows = agent_of(mailbox).unread(mailbox=mailbox.address, most=MAX_ROWS)
    where = literal(mailbox.address, _ADDRESS)
    if not rows:
        return f"No unread mail in {where}."
    lines = []
    for row in rows:
        sender = row.get("from") or row.get("from_address") or ""
        number = str(row.get("id") or row.get("message_id") or "").replace("`", "")[
            :_ID
        ]
        lines.append(
            f"- **{_subject(row.get('subject'))}** from {literal(str(sender), _ADDRESS)} `{number}`"
        )
    return _fitting(
        f"Unread in {where}, newest first:", lines, number=len(rows), more="and {} more"
    )


def pending(command: Command) -> str:
    """Return what waits for review, of what this person may see, the oldest first, each
    with its link.
    """
    waiting = desk_messages().visible_to(command.actor).in_queue()
    number = waiting.count()
    if not number:
        return "No messages that you may see are waiting for review."
    lines = []
    for message in waiting.order_by("held_at", "pk")[:MAX_ROWS]:
        link = f"{settings.PUBLIC_URL}{reverse('message', kwargs={'public_id': message.public_id})}"
        to = ", ".join(map(str, message.recipients[:3]))
        lines.append(
            f"- [{_subject(message.subject)}](<{link}>) to {literal(to, _ADDRESS)}"
        )
    begin = f"{number} wait{'s' if number == 1 else ''} for review, oldest first:"
    more = f"[and {{}} more](<{settings.PUBLIC_URL}{reverse('queue')}>)"
    return _fitting(begin, lines, number=number, more=more)


def _fitting(begin: str, rows: list[str], *, number: int, more: str) -> str:
    """Return as many of the rows as fit whole, and how many `more` there are: half a
    link leads nowhere.
    """
    while True:
        left = [more.format(number - len(rows))] if number > len(rows) else []
        text = "\n".join([begin, *rows, *left])
        if not rows or units(text) <= MAX_CONTENT:
            return text
        rows = rows[:-1]


def _subject(text: Any) -> str:
    return literal(str(text or ""), _SUBJECT) or "(no subject)"
