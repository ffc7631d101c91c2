"""The slash commands on Discord that call MultiMail, with the connection's agent key.
/sendemail and /reply send a message, which somebody other than its sender reviews;
/checkinbox lists unread mail.

They run in a worker, outside of a transaction. If the worker dies, the next one runs
the command again, and MultiMail still sends one message, because the idempotency key is
made of the interaction's id. It must not know cards or deliveries.
"""

import json
import logging
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from alerts.cards.markup import cut, units
from alerts.channels.answers import actor_of, proof_of, record_refusal
from alerts.channels.base import Reply
from alerts.channels.discord.embeds import MARKDOWN
from alerts.channels.discord.replies import MAX_CONTENT
from alerts.channels.requests import RetryLater
from alerts.models import Interaction
from approvals.authorship import note_words
from approvals.models import CommandedMail
from common.actors import Actor, Role
from common.mail_addresses import split_addresses
from common.tables import table_pairs
from mirror.errors import DeskError
from mirror.models import Mailbox, Message
from mirror.recording import record_about, trigger_details
from mirror.sync.account import without_refused
from people.models import ChatService
from risk.addresses import bare_address
from upstream import errors
from upstream.agent import Agent

log = logging.getLogger(__name__)

# The command that only reads.
INBOX = "checkinbox"
NOT_KNOWN = "It is not known whether MultiMail accepted the message: check the queue before you send it again."
NOT_SENT = "Nothing was sent."
# How often MultiMail is called for one command, which takes about a minute. Then the
# person is told that it failed.
MAX_TRIES = 5
_TEMPORARY = (errors.NotSent, errors.Throttled, errors.OutcomeUnknown)
# The outcome of an interaction without an answer whose message MultiMail may have
# accepted, and of one whose command was carried out.
CALLING = "calling"
DONE = "done"
# The id becomes part of a URL at MultiMail, and must not lead to another URL.
_EMAIL_ID = r"[0-9A-Za-z_][0-9A-Za-z_.:@=+-]{0,199}"
# How many messages /checkinbox lists, and lengths in UTF-16 units: of a part of a row,
# and of a refusal.
_MAX_ROWS = 10
_MAX_PART = 60
_MAX_REFUSAL = 900
_TYPED = "\nYou typed:\n```\n{}\n```"
_NO_MAILBOX = "No mailbox that you may use for this has an agent key and is not paused. Ask an admin."
# Hosted MultiMail says of every message that it is queued.
_ACCEPTED = "MultiMail accepted it. If it waits for review, somebody else must approve it. Do not send it again."
_WAITS = "It waits for review. Somebody else must approve it, because you started it. Do not send it again."
# Metadata of a message, by which reviewers see who started it and where, and the
# columns of the interaction.
_TRIGGER = table_pairs(
    """
discord_user | user_name
discord_user_id | user_id
discord_channel | channel_name
discord_channel_id | channel_id
discord_guild | server_id
discord_interaction_id | external_id
"""
)


class CommandRefused(DeskError):
    """The command is refused; the sentence says why, as plain text."""


@dataclass(frozen=True)
class _Command:
    """A command that somebody gave, with what they typed by the names of its options."""

    interaction: Interaction
    actor: Actor
    typed: dict[str, str]


def run_command(interaction: Interaction) -> Reply:
    """Carry out a command, and return the answer. Raises RetryLater after a temporary
    failure.
    """
    actor = actor_of(interaction)
    command = _Command(interaction, actor, json.loads(interaction.options))
    before = interaction.outcome
    try:
        return Reply(DONE, COMMANDS[interaction.name](command))
    except (DeskError, errors.UpstreamError) as error:
        why = error.sentence
        if not isinstance(error, errors.OutcomeUnknown):
            interaction.outcome = before
            interaction.save(update_fields=["outcome"])
        if isinstance(error, _TEMPORARY) and interaction.attempts < MAX_TRIES:
            wait = getattr(error, "retry_after", None)
            raise RetryLater(why, seconds=wait) from error
    except Exception:
        # Another try would fail in the same way, and a person is waiting.
        log.exception("command failed", extra={"interaction": interaction.external_id})
        why = "The desk had an error; its log says which."
    if interaction.name != INBOX:
        why = f"{why} {NOT_KNOWN if interaction.outcome == CALLING else NOT_SENT}"
    with transaction.atomic():
        record_refusal(interaction, actor, interaction.name, why)
    return Reply("refused", MARKDOWN.literal(why, _MAX_REFUSAL))


def with_typed_text(reply: Reply, options: str) -> str:
    """Return the content of an answer. Below a refusal it has what was typed, because
    Discord does not keep that.
    """
    typed: dict[str, str] = json.loads(options)
    if reply.outcome == DONE or "body" not in typed:
        return reply.content
    lines = [f"{name}: {text}" for name, text in typed.items() if text]
    # Three backticks in the text would end the code block around it.
    text = "\n".join(lines).replace("```", "'''")
    limit = MAX_CONTENT - units(reply.content + _TYPED)
    return reply.content + _TYPED.format(cut(text, limit))


@transaction.atomic
def note_commanded(keys: list[int]) -> None:
    """Record at messages in the mirror which signed command created them. `keys` are
    those of `CommandedMail.objects.to_note()`, which the sweep looks for because a
    message may reach the mirror before or after MultiMail answers the command.
    """
    rows = CommandedMail.objects.filter(pk__in=keys, is_noted=False)
    # Locked, so that two workers do not record the same.
    for mail in rows.select_for_update():
        message = Message.objects.get(
            connection__mailboxes=mail.mailbox_id, upstream_id=mail.upstream_id
        )
        interaction = Interaction.objects.get(
            service=ChatService.DISCORD, external_id=mail.interaction_id
        )
        actor = mail.person.actor(surface=ChatService.DISCORD)
        record_about(
            "message.commanded",
            message,
            replace(actor, proof=proof_of(interaction)),
            details=trigger_details(_trigger(interaction)),
        )
    rows.update(is_noted=True)


def _trigger(interaction: Interaction) -> dict[str, str]:
    values = {name: getattr(interaction, _TRIGGER[name]) for name in _TRIGGER}
    return {name: value for name, value in values.items() if value}


def _send_email(command: _Command) -> str:
    mailbox = _mailbox(command)
    message = {
        "from": mailbox.address,
        "to": [bare_address(one) for one in split_addresses(command.typed["to"])],
        "subject": command.typed["subject"],
        "body": _markdown(command),
    }
    return _send(command, mailbox, message)


def _reply(command: _Command) -> str:
    email_id = command.typed["message_id"]
    if not re.fullmatch(_EMAIL_ID, email_id):
        raise CommandRefused("This is not an id from /checkinbox.")
    message = {"markdown": _markdown(command)}
    return _send(command, _mailbox(command), message, reply_to=email_id)


def _check_inbox(command: _Command) -> str:
    mailbox = _mailbox(command)
    text = f"Unread in {_shown(mailbox.address)}, newest first:"
    rows = _agent_of(mailbox).unread(mailbox=mailbox.address, most=_MAX_ROWS)
    for row in rows:
        email_id = row.get("id") or row.get("message_id")
        text += f"\n- **{_shown(row.get('subject'))}** from {_shown(row.get('from'))}: {_shown(email_id)}"
    return text if rows else f"{text} nothing."


COMMANDS = {"sendemail": _send_email, "reply": _reply, INBOX: _check_inbox}


def _shown(value: object) -> str:
    return MARKDOWN.literal(str(value or "-"), _MAX_PART)


def _agent_of(mailbox: Mailbox) -> Agent:
    return Agent(base_url=mailbox.connection.api_url, key=mailbox.connection.agent_key)


def _markdown(command: _Command) -> str:
    # Discord's field has one line, so people type \n for a new one. In Markdown two
    # blanks before it keep it.
    return command.typed["body"].replace("\\n", "  \n")


def _mailbox(command: _Command) -> Mailbox:
    """Return the mailbox that a command is about: the one that was typed, or the only
    one there is. Raises CommandRefused.

    To write, the person must be a reviewer or an admin of the mailbox.
    """
    actor = command.actor
    if command.interaction.name != INBOX:
        actor = actor.acting_as(Role.REVIEWER, Role.ADMIN)
    visible = Mailbox.objects.visible_to(actor).active().at_work()
    running = visible.filter(connection__paused_at=None).select_related("connection")
    # The key is encrypted, so a query cannot tell whether it is empty.
    usable = {
        f"{one.connection.slug}/{one.address}".lower(): one
        for one in running
        if one.connection.agent_key
    }
    end = f"/{command.typed.get('mailbox', '').lower()}"
    found = [usable[name] for name in usable if end == "/" or f"/{name}".endswith(end)]
    if len(found) == 1:
        return found[0]
    if not usable:
        raise CommandRefused(_NO_MAILBOX)
    names = ", ".join(usable)
    raise CommandRefused(f"Choose one of these as the option mailbox: {names}.")


def _send(
    command: _Command, mailbox: Mailbox, message: dict[str, Any], reply_to: str = ""
) -> str:
    """Send a message, and return the answer to the command. Who started it is stored
    first: nobody may approve a message that they started.
    """
    interaction = command.interaction
    with transaction.atomic():
        commanded, _ = CommandedMail.objects.get_or_create(
            interaction_id=interaction.external_id,
            defaults={"mailbox": mailbox, "person_id": int(command.actor.id)},
        )
        # From another mailbox, a repeated call would be another message.
        if commanded.mailbox_id != mailbox.pk:
            raise CommandRefused("Meanwhile you may use another mailbox.")
        texts = (command.typed.get(name, "") for name in ("to", "subject", "body"))
        note_words(command.actor, *texts)
        interaction.outcome = CALLING
        interaction.save(update_fields=["outcome"])
    message["metadata"] = _trigger(interaction)
    message["idempotency_key"] = f"discord-interaction-{interaction.external_id}"
    replied = (mailbox.upstream_id, reply_to) if reply_to else ()
    send = partial(_agent_of(mailbox).send_email, message, replied)
    answer = without_refused(mailbox.connection, send)
    upstream_id = answer["id"]
    CommandedMail.objects.filter(pk=commanded.pk).update(upstream_id=upstream_id)
    path = reverse("by-upstream-id", kwargs={"upstream_id": upstream_id})
    link = MARKDOWN.answer_link("Open it on the desk", f"{settings.PUBLIC_URL}{path}")
    status = str(answer.get("oversight_status") or answer.get("status"))
    sentence = _WAITS if status.startswith("pending") else _ACCEPTED
    return f"{sentence}\nMessage ID: {MARKDOWN.literal(upstream_id)}\n{link}"
