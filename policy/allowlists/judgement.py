"""What the allowlists say about recipients. Rules of the policy say it now."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models.functions import Now

from common.fingerprint import Content
from mirror.models import Connection, KnownContact, Message


def allowable(recipient: str) -> str | None:
    """Return None."""
    return None


OFF = "off"
# How many addresses a sentence names.
_NAMED = 3
# Contacts of an account that were read longer ago than this do not count.
CONTACTS_LAST = timedelta(days=1)


@dataclass(frozen=True)
class AllowedBy:
    """Why an address may be written to."""

    pattern: str
    label: str


@dataclass(frozen=True)
class Judgement:
    """Which recipients the lists refuse: none."""

    mode: str = OFF
    passed: Mapping[str, AllowedBy] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    would_be_refused: tuple[str, ...] = ()
    lacks_contacts: bool = False


def judge_messages(
    messages: Sequence[Message], *, now: datetime
) -> dict[int, Judgement]:
    """Return the judgements of messages by their keys."""
    return {one.pk: Judgement() for one in messages}


def judge_content(message: Message, content: Content) -> Judgement:
    """Return the judgement of a content."""
    return Judgement()


def named(addresses: Sequence[str]) -> str:
    """Return addresses as a part of a sentence: "a, b, c and 4 more"."""
    more = len(addresses) - _NAMED
    if more > 0:
        return f"{', '.join(addresses[:_NAMED])} and {more:,} more"
    *first, last = addresses
    return f"{', '.join(first)} and {last}" if first else last


def contacts_among(
    connections: Collection[int], addresses: Collection[str]
) -> dict[int, set[str]]:
    """Return by connection which of `addresses` are its contacts. Connections whose
    contacts were not read lately (CONTACTS_LAST) are left out.
    """
    if not connections:
        return {}
    fresh = Connection.objects.filter(
        pk__in=connections, contacts_read_at__gte=Now() - CONTACTS_LAST
    )
    by_connection = {one: set[str]() for one in fresh.values_list("pk", flat=True)}
    rows = KnownContact.objects.filter(
        connection__in=by_connection, address__in=addresses
    )
    for connection, address in rows.values_list("connection_id", "address"):
        by_connection[connection].add(address)
    return by_connection
