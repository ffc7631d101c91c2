"""/sendemail and /reply: one message by the agent key, after whoever gave the command
is noted as its author.
"""

import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.markup import cut
from alerts.channels.discord.commands.command import Command, CommandRefused
from alerts.channels.discord.commands.mailboxes import mailbox_for
from alerts.channels.discord.markdown import escape
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
    return _sentence(answer, upstream_id, about)


def _sentence(answer: dict[str, Any], upstream_id: str, about: str) -> str:
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
