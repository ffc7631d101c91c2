"""The four commands. /sendemail and /reply: one message by the agent key, after whoever
gave the command is noted as its author. /checkinbox and /pending: what came in, and
what waits, as far as whoever asks may see it.
"""

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.markup import cut, units
from alerts.channels.discord.commands.command import (
    Command,
    CommandRefused,
    mailbox_for,
)
from alerts.channels.discord.markdown import escape, literal
from alerts.channels.discord.replies import MAX_CONTENT
from approvals.desk_messages import desk_messages
from approvals.models import CommandedMail
from mirror.models import Mailbox
from mirror.sync.capabilities import without_refused
from upstream.agent import Agent

_BETWEEN = re.compile(r"[,;\s]+")
_EMAIL_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.:@=+-]{0,199}")
# The length shown on Discord; the desk has the whole text.
_SHOWN = 200
_HELD = ("pending_approval", "pending_send_approval")


def send_email(command: Command) -> str:
    """Send a new message, and return a sentence about what became of it."""
    to = [one for one in _BETWEEN.split(command.option("to")) if one]
    subject = command.option("subject")
    body = command.option("body")
    if not to or not subject or not body:
        raise CommandRefused(
            "A message needs `to`, `subject` and `body`.", reason="incomplete"
        )
    mailbox = mailbox_for(command, to_write=True)
    send = partial(
        agent_of(mailbox).send_email,
        mailbox=mailbox.address,
        to=to,
        subject=subject,
        body=_lines(body),
    )
    about = f"“{cut(escape(subject), _SHOWN)}” to {cut(escape(', '.join(to)), _SHOWN)}"
    return _mail(command, mailbox, send, about)


def reply(command: Command) -> str:
    """Answer a received message, and return a sentence about what became of it."""
    # /checkinbox shows the id between signs that people may copy too.
    email_id = command.option("message_id").strip("` ")
    body = command.option("body")
    if not email_id or not body:
        raise CommandRefused(
            "A reply needs `message_id`, which /checkinbox shows, and `body`.",
            reason="incomplete",
        )
    # It becomes a part of an address at MultiMail, and must not lead to another one
    # there.
    if not _EMAIL_ID.fullmatch(email_id):
        raise CommandRefused(
            "This is not an id from /checkinbox. Copy `message_id` from there.",
            reason="no id",
        )
    mailbox = mailbox_for(command, to_write=True, email_id=email_id)
    send = partial(
        agent_of(mailbox).reply_email,
        mailbox_id=mailbox.upstream_id,
        email_id=email_id,
        body=_lines(body),
    )
    return _mail(
        command, mailbox, send, f"Your reply to {cut(escape(email_id), _SHOWN)}"
    )


def agent_of(mailbox: Mailbox) -> Agent:
    """Return the agent's way to call MultiMail for this mailbox."""
    return Agent(base_url=mailbox.connection.api_url, key=mailbox.connection.agent_key)


def _mail(
    command: Command, mailbox: Mailbox, send: Callable[..., dict[str, Any]], about: str
) -> str:
    # Who started the message is stored before MultiMail creates it.
    interaction = command.interaction
    commanded, _ = CommandedMail.objects.get_or_create(
        interaction_id=interaction.discord_id,
        defaults={
            "connection": mailbox.connection,
            "mailbox": mailbox,
            "person": command.person,
            "command": interaction.name,
            "discord_user": interaction.discord_user[:100],
            "discord_user_id": interaction.discord_user_id,
        },
    )
    # With this idempotency key, repeated runs of one command send one message.
    key = f"discord-interaction-{interaction.discord_id}"
    send = partial(send, metadata=command.trigger, idempotency_key=key)
    answer = without_refused(mailbox.connection, send)
    upstream_id = str(answer["id"])
    CommandedMail.objects.filter(pk=commanded.pk).update(upstream_id=upstream_id)
    number = f"Message ID: `{upstream_id.replace('`', '')}`"
    status = str(answer.get("oversight_status") or answer.get("status") or "")
    if status == "not_required":
        return f"{about} is sent without review, as set for this mailbox.\n{number}"
    link = f"{settings.PUBLIC_URL}{reverse('by-upstream-id', kwargs={'upstream_id': upstream_id})}"
    # Hosted MultiMail answers "queued" for every message, whether it is reviewed or
    # not.
    begin = (
        f"{about} waits for review."
        if status in _HELD
        else f"MultiMail accepted it: {about}."
    )
    return (
        f"{begin} Somebody else must approve it, because you started it. Do not send it again.\n"
        f"{number}\n[Open it on the desk](<{link}>)"
    )


def _lines(body: str) -> str:
    # Discord's field has one line: people type the two signs instead. Mail is Markdown,
    # where one line end alone is a blank, and one behind two blanks a new line.
    lines = body.replace("\\n", "\n").split("\n")
    joined = [
        f"{line}  " if line.strip() and after.strip() else line
        for line, after in pairwise(lines)
    ]
    return "\n".join([*joined, lines[-1]])


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
        number = str(row.get("id") or row.get("message_id") or "").replace("`", "")
        subject = _subject(row.get("subject"))
        lines.append(
            f"- **{subject}** from {literal(str(sender), _ADDRESS)} `{number[:_ID]}`"
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
