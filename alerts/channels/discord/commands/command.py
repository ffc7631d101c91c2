"""A Discord command: who sent it, where and with which options; which mailbox it is
about; how it fails; and what was typed, for the answer.
"""

import json
from dataclasses import dataclass

from django.conf import settings
from django.db.models import F

from alerts.cards.markup import cut, units
from alerts.channels.discord.markdown import escape
from alerts.channels.discord.replies import MAX_CONTENT, link_instructions
from alerts.models import Interaction
from approvals.models import CommandedMail
from common.actors import Actor, Role
from mirror.models import Mailbox, Message
from people.models import Person
from people.sign_in.backend import needs_second_factor

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
    visible = Mailbox.objects.visible_to(actor).there().at_work()
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
