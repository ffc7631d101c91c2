"""Reads the names of what rules refer to by key (mailboxes, groups, lists and so on), for
sentences about rules and for the choices of the rule editor; and which mailboxes and API
keys there are when a rule is saved.
"""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from django.db.models import Max
from django.db.models.functions import Lower, Now

from common.actors import Actor, Role, Scope
from mirror.models import Connection, Mailbox, Message
from policy.models import Allowlist, Group, KeyOwner, WorkCalendar
from policy.rules.conditions import MessageFacts, Names
from policy.rules.demand import required
from policy.rules.facts import active_policy
from policy.rules.rules import Part, PolicyRule, RuleError

# An API key without an owner is offered in the editor if a message that it sent changed
# within this time; a key with an owner is always offered.
_KEYS_SEEN = timedelta(days=30)
# Sees everything, and can change nothing.
EVERYTHING = Actor(
    kind="rule", id="policy", label="", surface="worker", scopes=(Scope(Role.AUDITOR),)
)


def names_for(actor: Actor = EVERYTHING) -> Names:
    """Return the names of everything that rules and passes can refer to and that the
    actor may see; without an actor of everything, as for the ledger.
    """
    mailboxes = Mailbox.objects.visible_to(actor).order_by("address")
    connections = Connection.objects.visible_to(actor)
    lists = Allowlist.objects.visible_to(actor).order_by(Lower("name"))
    keys = api_keys(actor).items()
    return Names(
        mailboxes={one.pk: str(one) for one in mailboxes.at_work()},
        keys=dict(sorted(keys, key=lambda pair: pair[1].casefold())),
        lists={one.pk: one.name for one in lists},
        groups={one.pk: one.name for one in Group.objects.all()},
        calendars={one.pk: one.name for one in WorkCalendar.objects.order_by("name")},
        connections={one.pk: one.name for one in connections.at_work()},
        is_whole=actor.sees_all(),
    )


def api_keys(actor: Actor) -> dict[str, str]:
    """Return the names of API keys, by "connection:key": keys of visible connections
    that have an owner, or whose messages changed in the last 30 days.

    Keys of hosted MultiMail without an owner are missing: only our own gateway says
    which key sent a message. The query uses the index message_changed.
    """
    connections = Connection.objects.visible_to(actor).at_work()
    names = dict(connections.values_list("pk", "name"))
    owned = KeyOwner.objects.filter(connection__in=names)
    sent = Message.objects.filter(
        changed_at__gte=Now() - _KEYS_SEEN, connection__in=names
    ).exclude(sent_by_key="")
    rows = (
        sent.order_by()
        .values_list("connection_id", "sent_by_key")
        .annotate(name=Max("sent_by_key_name"))
    )
    keys = dict.fromkeys(owned.values_list("connection_id", "upstream_key_id"), "")
    keys |= {(connection, key): name for connection, key, name in rows}
    names_by_key = {}
    for (connection, key), name in keys.items():
        of_account = f" ({names[connection]})" if len(names) > 1 else ""
        # Always with its id: an agent's owner may give a key any name, such as that of
        # another key, or its id, and whoever signs a pass must not take one for another.
        names_by_key[f"{connection}:{key}"] = f"{name} [{key}]{of_account}".lstrip()
    return names_by_key


def with_known(part: Part) -> Part:
    """Return a rule as it is saved: with the mailboxes and API keys that its connections
    have now. Where it has those of a connection already, what is new to it stays new.
    """
    if not isinstance(part, PolicyRule):
        return part
    when = part.when
    boxes = {
        f"{connection}/{key}": key
        for connection, key in Mailbox.objects.values_list("connection", "pk")
    }
    begins = {
        one.partition("/")[0] + "/" for one in boxes if boxes[one] in when.mailboxes
    }
    begins |= {one.partition(":")[0] + ":" for one in when.keys}
    there = {*boxes, *when.keys, *(api_keys(EVERYTHING) if when.keys else ())}
    known: set[str] = set()
    # Kept while only these are meant, too: whoever unticks that gets no other rule.
    for begin in begins:
        kept = {one for one in when.known if one.startswith(begin)}
        known |= kept or {one for one in there if one.startswith(begin)}
    return replace(part, when=replace(when, known=frozenset(known)))


def needs_of_new_mailbox(actor: Actor, connection: int) -> str:
    """Return what the policy may ask for mail of a mailbox that is added to this
    connection, as sentences.
    """
    # Facts that may be not known are not known.
    facts: dict[str, Any] = {
        one.name: None for one in fields(MessageFacts) if "None" in str(one.type)
    }
    facts |= {"connection": connection, "mailbox": 0, "is_edited": True}
    try:
        rules = required(active_policy(), MessageFacts(**facts)).spoke
    except RuleError:
        return "The rules of the policy could not be read, so nothing can be approved."
    names = names_for(actor)
    needs = [f"{one.name}: {one.sentence(names)}" for one in rules]
    return "\n".join(needs or ["One approval of any reviewer."])
