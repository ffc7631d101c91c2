"""What the facts of many messages need beside their columns: owners of API keys, lists
by recipient, calendars.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from mirror.models import Connection, Message
from policy.calendars.stored import all_calendars
from policy.models import AllowEntry, KeyOwner
from policy.rules.conditions import MessageFacts, entries_of
from policy.rules.facts import Examined, facts_of
from policy.rules.hours import Calendars
from policy.rules.rules import PolicyRule


@dataclass
class Lookups:
    """Owners by API key, lists by the entries that they have, and which connections are
    to our own gateway.
    """

    owners: dict[tuple[int, str], set[int]] = field(default_factory=dict)
    lists: dict[str, set[int]] = field(default_factory=dict)
    gateways: dict[int, bool] = field(default_factory=dict)
    calendars: Calendars = field(default_factory=dict)

    def facts(
        self, message: Message, examined: Examined, now: datetime
    ) -> MessageFacts:
        """Return the facts of a message, or of anything with its columns, as of `now`."""
        return facts_of(
            message,
            examined,
            now=now,
            key_owners=self.owners.get(
                (message.connection_id, message.sent_by_key), ()
            ),
            lists=self.lists_naming(message.written_to or ()),
            calendars=self.calendars,
            is_our_gateway=self.gateways.get(message.connection_id, False),
        )

    def lists_naming(self, recipients: Iterable[str]) -> set[int]:
        """Return the lists with an entry that names one of these recipients."""
        found: set[int] = set()
        if self.lists:
            for one in recipients:
                found.update(*(self.lists.get(entry, ()) for entry in entries_of(one)))
        return found


def lookups_for(
    rules: Iterable[PolicyRule], recipients: Iterable[str], now: datetime | None = None
) -> Lookups:
    """Return what these rules need to know about messages to these recipients, in four
    queries at most.
    """
    return lookups_by(
        rules, lambda: {entry for one in recipients for entry in entries_of(one)}, now
    )


def lookups_by(
    rules: Iterable[PolicyRule],
    entries: Callable[[], Collection[str]],
    now: datetime | None,
) -> Lookups:
    """Return the same, by all entries that name one of the recipients; they are asked
    for where a rule names a list.
    """
    conditions = [one.when for one in rules if one.is_on]
    found = Lookups(
        gateways=dict(Connection.objects.values_list("pk", "is_our_gateway"))
    )
    if any(
        hours and hours.calendar
        for one in conditions
        for hours in (one.during, one.outside)
    ):
        found.calendars = all_calendars()
    if any(one.key_owners for one in conditions):
        for connection, key, person in KeyOwner.objects.values_list(
            "connection_id", "upstream_key_id", "person_id"
        ):
            found.owners.setdefault((connection, key), set()).add(person)
    if asked := set().union(*(one.lists for one in conditions)):
        found.lists = lists_by_entry(asked, entries(), now or timezone.now())
    return found


def lists_by_entry(
    lists: Collection[int], entries: Collection[str], now: datetime
) -> dict[str, set[int]]:
    """Return by each of these entries which of these lists have it, unless it has
    expired.
    """
    found: dict[str, set[int]] = {}
    for entry in AllowEntry.objects.naming(entries, lists=lists).live(now):
        found.setdefault(entry.pattern, set()).add(entry.allowlist_id)
    return found
