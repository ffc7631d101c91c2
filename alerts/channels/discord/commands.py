"""The four slash commands on Discord. /sendemail and /reply send a message with the
agent key: it is held, and somebody other than the sender reviews it. /checkinbox lists
unread mail, and /pending the messages that wait for review, as far as the person may
see them.

Each command function takes a `Command` (who sent it, with which options) and returns
the text of the answer, or raises CommandRefused. This is the only part of alerts that
calls MultiMail. It must not know cards or deliveries.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db.models import F
from django.urls import reverse

from alerts.cards.markup import cut, units
from alerts.channels.answers import link_instructions, person_of
from alerts.channels.discord.embeds import MARKDOWN, escape, literal
from alerts.channels.discord.replies import MAX_CONTENT
from alerts.models import Interaction
from approvals.authorship import note_words
from approvals.desk_messages import desk_messages
from approvals.models import CommandedMail
from common.actors import Actor, Role
from common.mail_addresses import split_addresses
from mirror.models import Mailbox, Message
from mirror.sync.account import without_refused
from people.models import ChatService, Person
from people.sign_in.backend import needs_second_factor
from upstream.agent import Agent

# How many mailboxes an answer lists for somebody who must choose one.
MAX_NAMED = 15
# Discord's limits on the number and the length of suggestions.
MAX_SUGGESTIONS = 25
_MAX_LENGTH = 100
# Recipients of this many messages are suggested.
_RECENT = 200
WRITING = ("sendemail", "reply")
_TYPED = "\nYou typed:\n"
_FENCE = "```"
# If fewer UTF-16 units than this are left, the typed text is not repeated.
_MIN_UNITS = 40
_EMAIL_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.:@=+-]{0,199}")
# In UTF-16 units: how much of a subject, or of the recipients, an answer repeats.
_SHOWN = 200
_HELD = ("pending_approval", "pending_send_approval")
# How many messages /checkinbox and /pending list, and the lengths of their parts in
# UTF-16 units.
MAX_ROWS = 10
_SUBJECT = 80
_ADDRESS = 60
_ID = 200


class CommandRefused(Exception):
    """The command is refused. `sentence` is for the person, escaped for Discord;
    `reason` is for the ledger.

    `may_have_left` says that MultiMail may have accepted the message nevertheless.
    """

    def __init__(
        self, sentence: str, *, reason: str, may_have_left: bool = False
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.reason = reason
        self.may_have_left = may_have_left


@dataclass(frozen=True)
class Command:
    """A command, and the user of the desk who sent it."""

    interaction: Interaction
    person: Person
    actor: Actor
    options: dict[str, str]

    def option(self, name: str) -> str:
        """Return the value of an option, without spaces around it."""
        return self.options.get(name, "").strip()

    @property
    def trigger(self) -> dict[str, str]:
        """The metadata of the message, by which its reviewers see who started it, and
        where. Empty values are left out.
        """
        interaction = self.interaction
        trigger = {
            "discord_user": interaction.user_name,
            "discord_user_id": interaction.user_id,
            "discord_channel": interaction.channel_name or interaction.channel_id,
            "discord_channel_id": interaction.channel_id,
            "discord_guild": interaction.server_id,
            "discord_interaction_id": interaction.external_id,
        }
        return {name: text for name, text in trigger.items() if text}


def read_command(interaction: Interaction) -> Command:
    """Return the command of an interaction. Raises CommandRefused if the Discord
    account is not linked, or the person has no role or needs a second factor.
    """
    person = person_of(interaction)
    if person is None:
        raise CommandRefused(
            link_instructions(interaction, MARKDOWN), reason="not linked"
        )
    actor = person.actor(surface="discord")
    if not actor.scopes:
        raise CommandRefused(
            "You no longer have a role at this desk. Ask an admin.", reason="no role"
        )
    if needs_second_factor(person):
        raise CommandRefused(
            "Your role needs a second factor, which is not possible on Discord: [use the "
            f"desk](<{settings.PUBLIC_URL}/>).",
            reason="second factor",
        )
    return Command(interaction, person, actor, _options(interaction.options))


def command_details(interaction: Interaction) -> dict[str, str]:
    """Return what the ledger records of a command, without the text that was typed."""
    return {
        "command": f"/{interaction.name}",
        "discord": interaction.user_name,
        "discord_id": interaction.user_id,
        "channel": interaction.channel_name or interaction.channel_id,
        "channel_id": interaction.channel_id,
        "guild": interaction.server_id,
        "interaction": interaction.external_id,
    }


def with_typed_text(sentence: str, stored_options: str) -> str:
    """Return an answer with the typed text below it, because Discord itself does not
    keep what somebody typed.
    """
    typed = _options(stored_options)
    if not typed.get("body", "").strip():
        return sentence
    other_options = [
        f"{name}: {typed[name]}"
        for name in ("to", "subject", "message_id")
        if typed.get(name, "").strip()
    ]
    # Three backticks in the text would end the code block around it.
    body = "\n".join([*other_options, typed["body"].strip()]).replace(_FENCE, "'''")
    limit = MAX_CONTENT - units(sentence) - units(_TYPED) - 2 * (len(_FENCE) + 1)
    if limit < _MIN_UNITS:
        return sentence
    return f"{sentence}{_TYPED}{_FENCE}\n{cut(body, limit)}\n{_FENCE}"


def _options(stored: str) -> dict[str, str]:
    # The options as typed, by name, from the JSON in the interaction's row.
    return {row["name"]: row["value"] for row in (json.loads(stored) if stored else [])}


def mailbox_for(command: Command, *, to_write: bool, email_id: str = "") -> Mailbox:
    """Return the mailbox that a command is about: the one that was typed, the one that
    received `email_id`, or the only one there is. Raises CommandRefused with a sentence
    that says what to type, or what is missing.

    To write, the person must be a reviewer or an admin of the mailbox; to read, any
    role there is enough.
    """
    if to_write:
        # If the command was run before, it keeps the mailbox that was chosen then.
        rows = CommandedMail.objects.filter(
            interaction_id=command.interaction.external_id
        ).exclude(mailbox=None)
        if earlier_run := rows.select_related("mailbox__connection").first():
            assert earlier_run.mailbox is not None
            return earlier_run.mailbox
    visible, usable = _mailboxes_of(command.actor, to_write=to_write)
    if not usable:
        if not visible:
            raise CommandRefused(
                "You may not use any mailbox for this. Ask an admin.",
                reason="no mailbox",
            )
        raise CommandRefused(
            "Commands need an agent key, and no mailbox that you may use has a connection with one. An admin can enter "
            "it on the connection's page.",
            reason="no agent key",
        )
    typed_name = command.option("mailbox").lower()
    if typed_name:
        candidates = []
        for one in usable:
            full_name = f"{one.connection.slug}/{one.address}"
            if typed_name in (_name_of(one, usable).lower(), full_name.lower()):
                candidates.append(one)
    else:
        # A reply is sent from the mailbox that received the message, if the desk knows
        # the message.
        receivers: set[int | None] = set()
        if email_id:
            received = Message.objects.filter(upstream_id=email_id, mailbox__in=usable)
            receivers.update(received.values_list("mailbox", flat=True))
        candidates = [one for one in usable if one.pk in receivers] or usable
    if len(candidates) == 1:
        if candidates[0].connection.paused_at is None:
            return candidates[0]
        address = cut(escape(candidates[0].address), 100)
        raise CommandRefused(
            f"The connection of {address} is paused, so nothing is sent or read. Its page on the desk says why; an "
            "admin can resume it.",
            reason="paused",
        )
    names = ", ".join(f"`{_name_of(one, usable)}`" for one in usable[:MAX_NAMED])
    more = f" and {len(usable) - MAX_NAMED} more" if len(usable) > MAX_NAMED else ""
    first_sentence = (
        f"There is no mailbox {cut(escape(typed_name), 100)} that you may use."
        if typed_name
        else "Choose a mailbox."
    )
    raise CommandRefused(
        f"{first_sentence} Type it as the option `mailbox`: {names}{more}.",
        reason="which mailbox",
    )


def suggest(*, discord_id: str, command: str, option: str, typed: str) -> list[str]:
    """Return suggestions for the option; none for an account that is not linked or has
    no role here.
    """
    person = Person.objects.filter(
        chat_accounts__service=ChatService.DISCORD,
        chat_accounts__account_id=discord_id,
        is_active=True,
    ).first()
    if person is None or needs_second_factor(person):
        return []
    _, usable = _mailboxes_of(
        person.actor(surface="discord"), to_write=command in WRITING
    )
    if option == "mailbox":
        return _matching([_name_of(one, usable) for one in usable], typed)
    if option != "to":
        return []
    # The text with its last address completed: several stand there with commas.
    before, comma, last = typed.rpartition(",")
    begin = f"{before}{comma} " if comma else ""
    theirs = Message.objects.filter(
        connection__commanded__person=person,
        connection__commanded__upstream_id=F("upstream_id"),
        mailbox__in=usable,
    )
    messages = theirs.order_by("-pk").values_list("recipients", flat=True)[:_RECENT]
    known = dict.fromkeys(
        address
        for recipients in messages
        for address in recipients
        if address not in before
    )
    return _matching(list(known), last, begin=begin)


def _mailboxes_of(
    actor: Actor, *, to_write: bool
) -> tuple[list[Mailbox], list[Mailbox]]:
    """Return two lists: the mailboxes that the actor may read, or write from; and those
    of them whose connection has an agent key.
    """
    if to_write:
        actor = actor.acting_as(Role.REVIEWER, Role.ADMIN)
    visible = Mailbox.objects.visible_to(actor).active().at_work()
    mailboxes = list(
        visible.select_related("connection").order_by("address", "connection__slug")
    )
    # The key is encrypted, so a query cannot tell whether it is empty.
    return mailboxes, [one for one in mailboxes if one.connection.agent_key]


def _name_of(mailbox: Mailbox, among: list[Mailbox]) -> str:
    """Return the address of a mailbox; if two connections have the same address, with
    the connection's name before it.
    """
    same = [one for one in among if one.address.lower() == mailbox.address.lower()]
    if len(same) == 1:
        return mailbox.address
    return f"{mailbox.connection.slug}/{mailbox.address}"


def _matching(names: list[str], typed: str, *, begin: str = "") -> list[str]:
    found = [begin + name for name in names if typed.strip().lower() in name.lower()]
    return [name for name in found if len(name) <= _MAX_LENGTH][:MAX_SUGGESTIONS]


def send_email(command: Command) -> str:
    """/sendemail: send a new message, and return the answer."""
    # Blanks separate addresses too; what has no @ beside one in <> is its name.
    to = [
        word.strip("<>")
        for part in split_addresses(command.option("to"))
        for word in part.split()
        if "@" in word or "<" not in part
    ]
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
        body=_as_markdown(body),
    )
    about = f"“{cut(escape(subject), _SHOWN)}” to {cut(escape(', '.join(to)), _SHOWN)}"
    return _send_message(command, mailbox, send, about)


def reply(command: Command) -> str:
    """/reply: answer a received message, and return the answer to the command."""
    # /checkinbox shows the id between backticks, which people may copy too.
    email_id = command.option("message_id").strip("` ")
    body = command.option("body")
    if not email_id or not body:
        raise CommandRefused(
            "A reply needs `message_id`, which /checkinbox shows, and `body`.",
            reason="incomplete",
        )
    # The id becomes part of a URL at MultiMail, and must not lead to another URL.
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
        body=_as_markdown(body),
    )
    return _send_message(
        command, mailbox, send, f"Your reply to {cut(escape(email_id), _SHOWN)}"
    )


def agent_of(mailbox: Mailbox) -> Agent:
    """Return the client that calls MultiMail with the agent key of this mailbox."""
    return Agent(base_url=mailbox.connection.api_url, key=mailbox.connection.agent_key)


def _send_message(
    command: Command, mailbox: Mailbox, send: Callable[..., dict[str, Any]], about: str
) -> str:
    # Sends with `send`, and returns the answer to the command. Who started the message
    # is stored first: nobody may approve a message that they started.
    interaction = command.interaction
    commanded, _ = CommandedMail.objects.get_or_create(
        interaction_id=interaction.external_id,
        defaults={
            "connection": mailbox.connection,
            "mailbox": mailbox,
            "person": command.person,
        },
    )
    note_words(command.actor, *map(command.option, ("to", "subject", "body")))
    # With this idempotency key, repeated runs of one command send one message.
    key = f"discord-interaction-{interaction.external_id}"
    send = partial(send, metadata=command.trigger, idempotency_key=key)
    answer = without_refused(mailbox.connection, send)
    upstream_id = str(answer["id"])
    CommandedMail.objects.filter(pk=commanded.pk).update(upstream_id=upstream_id)
    id_line = f"Message ID: `{upstream_id.replace('`', '')}`"
    status = str(answer.get("oversight_status") or answer.get("status") or "")
    if status == "not_required":
        return f"{about} is sent without review, as set for this mailbox.\n{id_line}"
    link = f"{settings.PUBLIC_URL}{reverse('by-upstream-id', kwargs={'upstream_id': upstream_id})}"
    # Hosted MultiMail answers "queued" for every message, whether it is reviewed or
    # not.
    first_sentence = (
        f"{about} waits for review."
        if status in _HELD
        else f"MultiMail accepted it: {about}."
    )
    return (
        f"{first_sentence} Somebody else must approve it, because you started it. Do not send it again.\n"
        f"{id_line}\n[Open it on the desk](<{link}>)"
    )


def _as_markdown(body: str) -> str:
    # Discord's field has only one line, so people type \n for a new line. Mail is
    # Markdown, where a line break needs two blanks at the end of the line before.
    lines = body.replace("\\n", "\n").split("\n")
    text = ""
    for line, after in pairwise(lines):
        text += f"{line}  \n" if line.strip() and after.strip() else f"{line}\n"
    return text + lines[-1]


def check_inbox(command: Command) -> str:
    """/checkinbox: return the unread mail of a mailbox, newest first. Nothing is marked
    as read.
    """
    mailbox = mailbox_for(command, to_write=False)
    rows = agent_of(mailbox).unread(mailbox=mailbox.address, most=MAX_ROWS)
    address = literal(mailbox.address, _ADDRESS)
    if not rows:
        return f"No unread mail in {address}."
    lines = []
    for row in rows:
        sender = row.get("from") or row.get("from_address") or ""
        email_id = str(row.get("id") or row.get("message_id") or "").replace("`", "")
        subject = _subject(row.get("subject"))
        lines.append(
            f"- **{subject}** from {literal(str(sender), _ADDRESS)} `{email_id[:_ID]}`"
        )
    return _fitting(
        f"Unread in {address}, newest first:",
        lines,
        number=len(rows),
        more="and {} more",
    )


def pending(command: Command) -> str:
    """/pending: return the messages that wait for review and that this person may see,
    oldest first, with links.
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
    """Return the text `begin`, as many whole rows as fit, since half a link does not
    work, and by the pattern `more` how many of `number` are left out.
    """
    while True:
        rest = [more.format(number - len(rows))] if number > len(rows) else []
        text = "\n".join([begin, *rows, *rest])
        if not rows or units(text) <= MAX_CONTENT:
            return text
        rows = rows[:-1]


def _subject(text: Any) -> str:
    return literal(str(text or ""), _SUBJECT) or "(no subject)"
