"""Which mailbox a command is about: the only one, or the one that was named; and what
Discord suggests meanwhile.
"""

from django.db.models import F

from alerts.cards.markup import cut
from alerts.channels.discord.commands.command import Command, CommandRefused
from alerts.channels.discord.markdown import escape
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
_WRITING = ("sendemail", "reply")


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
    actor = (
        command.actor.acting_as(Role.REVIEWER, Role.ADMIN)
        if to_write
        else command.actor
    )
    visible = _visible(actor)
    usable = _usable(visible)
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
        found = [
            one
            for one in usable
            if asked
            in (
                _name_of(one, usable).lower(),
                f"{one.connection.slug}/{one.address}".lower(),
            )
        ]
    else:
        # What a reply answers, its mailbox received, if the desk knows it.
        received = (
            Message.objects.filter(upstream_id=email_id, mailbox__in=usable)
            if email_id
            else Message.objects.none()
        )
        keys = set(received.values_list("mailbox", flat=True))
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
    usable = _usable(
        _visible(
            actor.acting_as(Role.REVIEWER, Role.ADMIN) if command in _WRITING else actor
        )
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


def _visible(actor: Actor) -> list[Mailbox]:
    mailboxes = (
        Mailbox.objects.visible_to(actor).there().at_work().select_related("connection")
    )
    return list(mailboxes.order_by("address", "connection__slug"))


def _usable(visible: list[Mailbox]) -> list[Mailbox]:
    # The key is encrypted, so the database cannot be asked for those that are empty.
    return [one for one in visible if one.connection.agent_key]


def _name_of(mailbox: Mailbox, among: list[Mailbox]) -> str:
    """Return the address, and where two accounts have the same one, the connection in
    front of it.
    """
    is_twice = (
        sum(1 for one in among if one.address.lower() == mailbox.address.lower()) > 1
    )
    return (
        f"{mailbox.connection.slug}/{mailbox.address}" if is_twice else mailbox.address
    )


def _matching(names: list[str], typed: str, *, begin: str = "") -> list[str]:
    found = [begin + name for name in names if typed.strip().lower() in name.lower()]
    return [name for name in found if len(name) <= _MAX_LENGTH][:MAX_SUGGESTIONS]
