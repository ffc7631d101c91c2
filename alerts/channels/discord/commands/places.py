"""Which mailbox a command is about, and with which key: the only one, or the one that was named."""

from alerts.channels.discord.commands.errors import CommandRefused
from alerts.channels.discord.commands.given import Given
from alerts.channels.discord.markdown import cut, escape
from approvals.models import CommandedMail
from mirror.models import Mailbox, Message
from people.actors import Actor, Role

# Of the addresses to choose from so many are named.
MOST_NAMED = 15


def mailbox_for(given: Given, *, to_write: bool, letter: str = "") -> Mailbox:
    """Return the mailbox. Raises CommandRefused with what to type, or what is missing.

    Who writes must be a reviewer or an admin of the mailbox; who reads may have any role there.
    """
    if to_write and (chosen := _chosen_before(given)):
        return chosen
    actor = given.actor.acting_as(Role.REVIEWER, Role.ADMIN) if to_write else given.actor
    visible = _visible(actor)
    usable = _usable(visible)
    if not usable:
        raise _missing(is_any=bool(visible))
    asked = given.option("mailbox").lower()
    found = [one for one in usable if asked in _names_of(one, usable)] if asked else _that_got(letter, usable) or usable
    if len(found) == 1:
        return _not_paused(found[0])
    named = ", ".join(f"`{_name_of(one, usable)}`" for one in usable[:MOST_NAMED])
    more = f" and {len(usable) - MOST_NAMED} more" if len(usable) > MOST_NAMED else ""
    begin = f"There is no mailbox {cut(escape(asked), 100)} that you may use." if asked else "Say from which mailbox."
    raise CommandRefused(f"{begin} Type it as the option `mailbox`: {named}{more}.", why="which mailbox")


def usable_mailboxes(actor: Actor) -> list[tuple[Mailbox, str]]:
    """Return the mailboxes in which this actor can give commands, each with its name among them."""
    usable = _usable(_visible(actor))
    return [(one, _name_of(one, usable)) for one in usable]


def _visible(actor: Actor) -> list[Mailbox]:
    mailboxes = Mailbox.objects.visible_to(actor).there().at_work().select_related("connection")
    return list(mailboxes.order_by("address", "connection__slug"))


def _usable(visible: list[Mailbox]) -> list[Mailbox]:
    # The key is encrypted, so the database cannot be asked for those that are empty.
    return [one for one in visible if one.connection.agent_key]


def _that_got(letter: str, usable: list[Mailbox]) -> list[Mailbox]:
    """Return the mailbox that a letter came to, where the desk knows it."""
    of_letter = Message.objects.filter(upstream_id=letter, mailbox__in=usable) if letter else Message.objects.none()
    keys = set(of_letter.values_list("mailbox", flat=True))
    return [one for one in usable if one.pk in keys]


def _chosen_before(given: Given) -> Mailbox | None:
    row = CommandedMail.objects.filter(interaction_id=given.interaction_id).exclude(mailbox=None)
    found = row.select_related("mailbox__connection").first()
    return found.mailbox if found else None


def _not_paused(mailbox: Mailbox) -> Mailbox:
    if mailbox.connection.paused_at is None:
        return mailbox
    raise CommandRefused(
        f"The connection of {cut(escape(mailbox.address), 100)} is paused at the desk, so nothing is sent or read "
        "there. Its page says why; an admin lets it go on.",
        why="paused",
    )


def _missing(*, is_any: bool) -> CommandRefused:
    if is_any:
        return CommandRefused(
            "No mailbox that you may use has a connection with an agent key, with which commands are carried out. An "
            "admin puts one in on the page of the connection.",
            why="no agent key",
        )
    return CommandRefused("There is no mailbox here that you may use for this. Ask an admin.", why="no mailbox")


def _name_of(mailbox: Mailbox, among: list[Mailbox]) -> str:
    """Return the address, and where two accounts have the same one, the connection in front of it."""
    is_twice = sum(1 for one in among if one.address.lower() == mailbox.address.lower()) > 1
    return f"{mailbox.connection.slug}/{mailbox.address}" if is_twice else mailbox.address


def _names_of(mailbox: Mailbox, among: list[Mailbox]) -> set[str]:
    return {_name_of(mailbox, among).lower(), f"{mailbox.connection.slug}/{mailbox.address}".lower()}
