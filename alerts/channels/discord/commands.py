"""Slash commands on Discord: who sent one, where and with which options; the mailbox
that it is about; and the four of them. /sendemail and /reply send one message by the
agent key, which somebody else reviews, after whoever gave the command is noted as its
author. /checkinbox and /pending list what came in, and what waits, as far as whoever
asks may see it.

It must not know cards or deliveries, and is the only part of alerts that speaks to
MultiMail.
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
from alerts.channels.discord.embeds import escape, literal
from alerts.channels.discord.replies import MAX_CONTENT, link_instructions
from alerts.models import Interaction
from approvals.desk_messages import desk_messages
from approvals.models import CommandedMail
from common.actors import Actor, Role
from mirror.models import Mailbox, Message
from mirror.sync.account import without_refused
from people.models import Person
from people.sign_in.backend import needs_second_factor
from upstream.agent import Agent

# How many addresses an answer lists.
MAX_NAMED = 15
# Discord's limits on the number and the length of suggestions.
MAX_SUGGESTIONS = 25
_MAX_LENGTH = 100
# Recipients of this many messages are suggested.
_RECENT = 200
WRITING = ("sendemail", "reply")
_TYPED = "\nYou typed:\n"
_FENCE = "```"
# With fewer units left than this, the typed text is not repeated.
_MIN_UNITS = 40
_BETWEEN = re.compile(r"[,;\s]+")
_EMAIL_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.:@=+-]{0,199}")
# The length shown on Discord; the desk has the whole text.
_SHOWN = 200
_HELD = ("pending_approval", "pending_send_approval")
MAX_ROWS = 10
_SUBJECT = 80
_ADDRESS = 60
_ID = 200


class CommandRefused(Exception):
    """The command is refused. The sentence is for its sender, ready for Discord;
    `reason` is for the ledger.

    `may_have_left` is whether MultiMail may have accepted it all the same.
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
    """A command, and the desk's user who sent it."""

    interaction: Interaction
    person: Person
    actor: Actor
    options: dict[str, str]

    def option(self, name: str) -> str:
        """Return the value of an option, without spaces around it."""
        return self.options.get(name, "").strip()

    @property
    def trigger(self) -> dict[str, str]:
        """What is sent with the mail, so that its reviewers know where it began.
        Nothing empty.
        """
        interaction = self.interaction
        trigger = {
            "discord_user": interaction.discord_user,
            "discord_user_id": interaction.discord_user_id,
            "discord_channel": interaction.discord_channel
            or interaction.discord_channel_id,
            "discord_channel_id": interaction.discord_channel_id,
            "discord_guild": interaction.discord_guild_id,
            "discord_interaction_id": interaction.discord_id,
        }
        return {name: text for name, text in trigger.items() if text}


def read_command(interaction: Interaction) -> Command:
    """Return the command. Raises CommandRefused for who is not linked, has no role
    here, or must prove more.
    """
    linked = Person.objects.filter(
        discord_accounts__discord_id=interaction.discord_user_id
    )
    person = linked.prefetch_related("grants").first()
    if person is None:
        raise CommandRefused(link_instructions(interaction), reason="not linked")
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
    """Return what the ledger records of a command: never what was written in it."""
    return {
        "command": f"/{interaction.name}",
        "discord": interaction.discord_user,
        "discord_id": interaction.discord_user_id,
        "channel": interaction.discord_channel or interaction.discord_channel_id,
        "channel_id": interaction.discord_channel_id,
        "guild": interaction.discord_guild_id,
        "interaction": interaction.discord_id,
    }


def with_typed_text(sentence: str, stored_options: str) -> str:
    """Return the answer with the typed text below it, because Discord does not keep
    what was typed.
    """
    typed = _options(stored_options)
    if not typed.get("body", "").strip():
        return sentence
    named = [
        f"{name}: {typed[name]}"
        for name in ("to", "subject", "message_id")
        if typed.get(name, "").strip()
    ]
    # Three backticks would end the code block.
    body = "\n".join([*named, typed["body"].strip()]).replace(_FENCE, "'''")
    limit = MAX_CONTENT - units(sentence) - units(_TYPED) - 2 * (len(_FENCE) + 1)
    if limit < _MIN_UNITS:
        return sentence
    return f"{sentence}{_TYPED}{_FENCE}\n{cut(body, limit)}\n{_FENCE}"


def _options(stored: str) -> dict[str, str]:
    return {row["name"]: row["value"] for row in (json.loads(stored) if stored else [])}


def mailbox_for(command: Command, *, to_write: bool, email_id: str = "") -> Mailbox:
    """Return the mailbox. Raises CommandRefused with what to type, or what is missing.

    Who writes must be a reviewer or an admin of the mailbox; who reads may have any
    role there.
    """
    if to_write:
        # An earlier run may have chosen it.
        rows = CommandedMail.objects.filter(
            interaction_id=command.interaction.discord_id
        ).exclude(mailbox=None)
        if before := rows.select_related("mailbox__connection").first():
            assert before.mailbox is not None
            return before.mailbox
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
    asked = command.option("mailbox").lower()
    if asked:
        found = []
        for one in usable:
            whole = f"{one.connection.slug}/{one.address}"
            if asked in (_name_of(one, usable).lower(), whole.lower()):
                found.append(one)
    else:
        # What a reply answers, its mailbox received, if the desk knows it.
        keys: set[int | None] = set()
        if email_id:
            received = Message.objects.filter(upstream_id=email_id, mailbox__in=usable)
            keys.update(received.values_list("mailbox", flat=True))
        found = [one for one in usable if one.pk in keys] or usable
    if len(found) == 1:
        if found[0].connection.paused_at is None:
            return found[0]
        address = cut(escape(found[0].address), 100)
        raise CommandRefused(
            f"The connection of {address} is paused, so nothing is sent or read. Its page on the desk says why; an "
            "admin can resume it.",
            reason="paused",
        )
    named = ", ".join(f"`{_name_of(one, usable)}`" for one in usable[:MAX_NAMED])
    more = f" and {len(usable) - MAX_NAMED} more" if len(usable) > MAX_NAMED else ""
    begin = (
        f"There is no mailbox {cut(escape(asked), 100)} that you may use."
        if asked
        else "Choose a mailbox."
    )
    raise CommandRefused(
        f"{begin} Type it as the option `mailbox`: {named}{more}.",
        reason="which mailbox",
    )


def suggest(*, discord_id: str, command: str, option: str, typed: str) -> list[str]:
    """Return suggestions for the option; none for an account that is not linked or has
    no role here.
    """
    person = Person.objects.filter(
        discord_accounts__discord_id=discord_id, is_active=True
    ).first()
    if person is None or needs_second_factor(person):
        return []
    actor = person.actor(surface="discord")
    _, usable = _mailboxes_of(actor, to_write=command in WRITING)
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
    """Return the mailboxes that the actor may read, or write from; and those of them
    that have an agent key.
    """
    if to_write:
        actor = actor.acting_as(Role.REVIEWER, Role.ADMIN)
    visible = Mailbox.objects.visible_to(actor).active().at_work()
    mailboxes = list(
        visible.select_related("connection").order_by("address", "connection__slug")
    )
    # The key is encrypted, so the database cannot be asked for those that are empty.
    return mailboxes, [one for one in mailboxes if one.connection.agent_key]


def _name_of(mailbox: Mailbox, among: list[Mailbox]) -> str:
    """Return the address, and where two accounts have the same one, the connection in
    front of it.
    """
    same = [one for one in among if one.address.lower() == mailbox.address.lower()]
    if len(same) == 1:
        return mailbox.address
    return f"{mailbox.connection.slug}/{mailbox.address}"


def _matching(names: list[str], typed: str, *, begin: str = "") -> list[str]:
    found = [begin + name for name in names if typed.strip().lower() in name.lower()]
    return [name for name in found if len(name) <= _MAX_LENGTH][:MAX_SUGGESTIONS]


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
