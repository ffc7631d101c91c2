"""What Discord offers while somebody fills in a command: mailboxes they may use, addresses they have written to."""

from django.db.models import F

from alerts.channels.discord.commands.places import usable_mailboxes
from mirror.models import Mailbox, Message
from people.actors import Role
from people.models import Person
from people.sign_in.factors import needs_second_factor

# Discord takes no more choices, and no longer ones.
MOST, LONGEST = 25, 100
# Of so many letters the recipients are known.
_LATELY = 200
_WRITES = ("sendemail", "reply")


def suggest(*, discord_id: str, command: str, option: str, typed: str) -> list[str]:
    """Return what could stand there; nothing for whoever is not linked, or has no part here."""
    person = Person.objects.filter(discord_accounts__discord_id=discord_id, is_active=True).first()
    if person is None or needs_second_factor(person):
        return []
    actor = person.actor(surface="discord")
    usable = usable_mailboxes(actor.acting_as(Role.REVIEWER, Role.ADMIN) if command in _WRITES else actor)
    if option == "mailbox":
        return _those_with([name for _, name in usable], typed)
    return _addresses(person, [mailbox for mailbox, _ in usable], typed) if option == "to" else []


def _addresses(person: Person, usable: list[Mailbox], typed: str) -> list[str]:
    """Return the text with its last address completed: several stand there with commas."""
    before, comma, last = typed.rpartition(",")
    begin = f"{before}{comma} " if comma else ""
    theirs = Message.objects.filter(
        connection__commanded__person=person, connection__commanded__upstream_id=F("upstream_id"), mailbox__in=usable
    )
    letters = theirs.order_by("-pk").values_list("recipients", flat=True)[:_LATELY]
    known = dict.fromkeys(address for recipients in letters for address in recipients if address not in before)
    return _those_with(list(known), last, begin=begin)


def _those_with(names: list[str], typed: str, *, begin: str = "") -> list[str]:
    wanted = typed.strip().lower()
    fitting = [begin + name for name in names if wanted in name.lower()]
    return [name for name in fitting if len(name) <= LONGEST][:MOST]
