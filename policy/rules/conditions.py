"""When a rule applies to a message. Pure.

All conditions of a rule must hold; of several values of one, a single one that fits is
enough. Rules only ask for more, so whatever the desk does not know makes a condition
hold.

To add a condition: its field and check here, where its value comes from in `facts.py`,
its sentence in `rules.py`, and its field in the editor,
`approvals/policy_rules/rule_form.py`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    with_config,
)

from common.mail_addresses import patterns_for, read_pattern
from policy.calendars import Calendar, is_open


def _from_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError(f"“{value[:40]}” is no amount") from None


# Stored as sorted lists, so that equal rules are stored alike.
Keys = Annotated[frozenset[int], PlainSerializer(sorted)]
Words = Annotated[frozenset[str], PlainSerializer(sorted)]
Stored = TypeVar("Stored")
# Stored as text, which keeps every digit; a number might have been rounded.
Exact = Annotated[Decimal, BeforeValidator(_from_text)]
# For a dataclass that is stored: nothing but its fields, by their types.
exactly = with_config(ConfigDict(extra="forbid", strict=True))


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def as_json(value: Any) -> dict[str, Any]:
    """Return a dataclass as it is stored: only the fields that are not as they are by
    default.
    """
    kind: Any = type(value)
    found: dict[str, Any] = _adapter(kind).dump_python(
        value, mode="json", exclude_defaults=True
    )
    return found


def from_json(kind: type[Stored], value: object) -> Stored:
    """Return what `as_json` wrote, as a value of this type. Raises ValueError with a
    sentence for anything else.
    """
    adapter = _adapter(cast(Any, kind))
    try:
        found: Stored = adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:80] or "all of it"
        why = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ValueError(f"{why} ({place}).") from None
    return found


# The calendars that there are, by their keys.
Calendars = Mapping[int, Calendar]


# What a message may have come from, and the words for it.
ORIGINS = {
    "agent": "an agent by API",
    "discord": "a Discord command",
    "edit": "an edit at the desk",
    "received": "received mail",
}
RISKS = ("notice", "high")
# Families of attached files, and the words for them; names of kinds ("pdf") count too.
FAMILIES = {
    "image": "a picture",
    "text": "a text file",
    "document": "a document",
    "archive": "an archive",
    "program": "a program",
    "media": "sound or film",
    "other": "a file of another kind",
}
MOST_RECIPIENTS = 100_000
MOST_TRIES = 1000
_TOP_LEVEL = re.compile(r"\A\*\.[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z")
_QUOTES = re.compile("[“”„‟«»\"']")


@dataclass(frozen=True)
class Amount:
    """A sum that a message names. Without a currency it is not certain which, and it
    counts as any.
    """

    value: Decimal
    currency: str = ""


@dataclass(frozen=True)
class MessageFacts:
    """What conditions ask of a message. None means that the desk does not know.

    `key` is "connection:API key"; `recipients` are in the form that allowlists compare,
    and one without @ stands for somebody whom the key does not show. `lists` are the
    allowlists that name one of them, `attachments` families and names of kinds, and
    `origins` everything that the message may have come from.
    """

    connection: int
    # No part of what makes two messages equal to rules that do not ask for the time.
    now: datetime = field(compare=False)
    mailbox: int | None = None
    is_inbound: bool = False
    key: str | None = ""
    key_owners: frozenset[int] | None = frozenset()
    recipients: tuple[str, ...] | None = ()
    lists: frozenset[int] | None = frozenset()
    is_first_contact: bool | None = False
    risk_level: str | None = ""
    findings: frozenset[str] | None = frozenset()
    own_words: frozenset[str] | None = frozenset()
    amounts: tuple[Amount, ...] | None = ()
    # Where a sum could not be read, for people; then `amounts` is None.
    unread_sums: tuple[str, ...] = field(default=(), compare=False)
    attachments: frozenset[str] | None = frozenset()
    origins: frozenset[str] | None = frozenset()
    tries: int | None = 1
    # Those that rules may name; one that is not there makes a condition hold.
    calendars: Calendars = field(default_factory=dict, compare=False)

    @cached_property
    def sees_all_recipients(self) -> bool:
        """Whether it is known who gets it."""
        return self.recipients is not None and all(
            "@" in one for one in self.recipients
        )

    @cached_property
    def entries(self) -> list[frozenset[str]]:
        """For each recipient, every entry of a list or rule that names them."""
        return list(map(entries_of, self.recipients or ()))


@exactly
@dataclass(frozen=True)
class Conditions:
    """What must hold of a message for a rule to apply; an empty condition asks nothing.

    `recipients` are entries as in allowlists, one of which must name somebody;
    `recipients_except` must leave somebody unnamed. `amount` is the least sum that it
    must name, 0 for any. `during` and `outside` are keys of calendars.
    """

    mailboxes: Keys = frozenset()
    keys: Words = frozenset()
    key_owners: Keys = frozenset()
    recipients: Words = frozenset()
    recipients_except: Words = frozenset()
    lists: Keys = frozenset()
    first_contact: bool = False
    risk: str = ""
    findings: Words = frozenset()
    own_words: Words = frozenset()
    amount: Exact | None = None
    currency: str = ""
    attachments: Words = frozenset()
    recipients_from: int | None = None
    origins: Words = frozenset()
    during: int | None = None
    outside: int | None = None
    tries_from: int | None = None

    def apply_to(self, facts: MessageFacts) -> bool:
        """Whether all of the conditions hold of a message."""
        for check in self._asked:  # noqa: SIM110 - a loop takes half as long as `all`
            if not check(self, facts):
                return False
        return True

    @property
    def is_empty(self) -> bool:
        """Whether they apply to every message."""
        return not self._asked

    @property
    def ask_time(self) -> bool:
        """Whether they depend on when they are asked."""
        return self.during is not None or self.outside is not None

    # Cached: 200 rules are asked about each row of a page.
    @cached_property
    def _asked(self) -> list["_Check"]:
        asked = []
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            # An amount of 0 asks for any amount.
            if value or isinstance(value, Decimal):
                asked.append(check)
        return asked


def own_word_key(word: str) -> str:
    """Return an own word in the form in which findings name it: capitals and quotation
    marks do not count.
    """
    return _QUOTES.sub("'", word[:80]).casefold().strip()


_Check = Callable[[Conditions, MessageFacts], bool]


def _may_have_key(when: Conditions, facts: MessageFacts) -> bool:
    if facts.key is not None:
        return facts.key in when.keys
    # Which key it was is not known, but of which connection.
    return any(one.partition(":")[0] == str(facts.connection) for one in when.keys)


def _are_open(calendar: int | None, facts: MessageFacts) -> bool | None:
    """Return whether a calendar is open; None where it is not there any more."""
    found = facts.calendars.get(calendar or 0)
    return is_open(found, facts.now) if found else None


def _one_of(name: str) -> _Check:
    """Return the check that a condition's values and those of the fact of its name have
    one in common.
    """

    def check(when: Conditions, facts: MessageFacts) -> bool:
        found: frozenset[Any] | None = getattr(facts, name)
        return found is None or not found.isdisjoint(getattr(when, name))

    return check


_CHECKS: dict[str, _Check] = {
    "mailboxes": lambda when, facts: (
        facts.mailbox is None or facts.mailbox in when.mailboxes
    ),
    "keys": _may_have_key,
    "key_owners": _one_of("key_owners"),
    "recipients": lambda when, facts: (
        not facts.sees_all_recipients
        or any(not one.isdisjoint(when.recipients) for one in facts.entries)
    ),
    "recipients_except": lambda when, facts: (
        not facts.sees_all_recipients
        or any(one.isdisjoint(when.recipients_except) for one in facts.entries)
    ),
    "lists": lambda when, facts: (
        facts.lists is None
        or not facts.sees_all_recipients
        or not when.lists.isdisjoint(facts.lists)
    ),
    "first_contact": lambda when, facts: facts.is_first_contact is not False,
    "risk": lambda when, facts: (
        facts.risk_level is None
        or facts.risk_level in (("high",) if when.risk == "high" else RISKS)
    ),
    "findings": _one_of("findings"),
    "own_words": _one_of("own_words"),
    "amount": lambda when, facts: (
        facts.amounts is None
        or any(
            one.value >= (when.amount or 0)
            and (not when.currency or one.currency in ("", when.currency))
            for one in facts.amounts
        )
    ),
    "attachments": _one_of("attachments"),
    "recipients_from": lambda when, facts: (
        not facts.sees_all_recipients
        or len(facts.recipients or ()) >= (when.recipients_from or 0)
    ),
    "origins": _one_of("origins"),
    "during": lambda when, facts: _are_open(when.during, facts) is not False,
    "outside": lambda when, facts: not _are_open(when.outside, facts),
    "tries_from": lambda when, facts: (
        facts.tries is None or facts.tries >= (when.tries_from or 0)
    ),
}


@lru_cache(maxsize=4096)
def entries_of(recipient: str) -> frozenset[str]:
    """Return every entry that names a recipient. One whose address names a next hop is
    named by its domain too.

    An allowlist lets no such address through; a rule asks for more, so it applies in
    doubt.
    """
    domain = recipient.rpartition("@")[2]
    entries = patterns_for(recipient) or [recipient, *patterns_for(f"x@{domain}")[1:]]
    return frozenset((*entries, f"*.{domain.rpartition('.')[2]}"))


def read_entry(typed: str) -> str:
    """Return an entry of recipients in its one form. Raises ValueError with a sentence."""
    # A whole top-level domain is too much for an allowlist, but not for a rule, which
    # asks for more.
    return typed.lower() if _TOP_LEVEL.match(typed) else read_pattern(typed)
