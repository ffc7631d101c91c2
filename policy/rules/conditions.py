"""The conditions of a rule, the facts about a message that they are compared with, and
whether they hold. Pure: reads no tables and no clock.

All conditions of a rule must hold; a condition with several values holds if one of them
fits. A condition also holds if the desk does not know the fact that it needs: rules
only ask for more approvals, so in doubt they apply.

To add a condition: its field and check here, where its value comes from in `facts.py`,
its sentence in `rules.py`, and its field in the editor,
`approvals/policy_rules/rule_form.py`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
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

from common.mail_addresses import (
    compared,
    folded,
    names_next_hop,
    patterns_for,
    read_pattern,
)
from common.tables import table_pairs


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
# Decorates a dataclass that is stored as JSON: unknown fields and values of other types
# are errors.
exactly = with_config(ConfigDict(extra="forbid", strict=True))


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def as_json(value: Any) -> dict[str, Any]:
    """Return a dataclass as it is stored: the fields that differ from the defaults."""
    kind: Any = type(value)
    fields: dict[str, Any] = _adapter(kind).dump_python(
        value, mode="json", exclude_defaults=True
    )
    return fields


def from_json(kind: type[Stored], value: object) -> Stored:
    """Return the dataclass of this type that `as_json` wrote. Raises ValueError with a
    sentence if the value is not one.
    """
    adapter = _adapter(cast(Any, kind))
    try:
        result: Stored = adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:80] or "all of it"
        why = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ValueError(f"{why} ({place}).") from None
    return result


# Where a message may have come from, and the words for it.
ORIGINS = table_pairs("""
agent | an agent by API
discord | a Discord command
edit | an edit at the desk
received | received mail
""")
RISKS = ("notice", "high")
# Families of attached files, and the words for them. A condition can also name a kind
# of file, such as "pdf".
FAMILIES = table_pairs("""
image | a picture
text | a text file
document | a document
archive | an archive
program | a program
media | sound or film
other | a file of another kind
""")
# The finding that an attached file can run code.
RUNS_CODE = "attachment_runs_code"
MOST_RECIPIENTS = 100_000
MOST_TRIES = 1000
# A whole top-level domain, such as "*.gov".
_TOP_LEVEL = re.compile(r"\A\*\.[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z")


@dataclass(frozen=True)
class Amount:
    """A sum of money that a message names. If the currency is not certain it is empty,
    and counts as every currency.
    """

    value: Decimal
    currency: str = ""


@dataclass(frozen=True)
class MessageFacts:
    """The facts about a message that conditions are compared with. None means that the
    desk does not know.

    `key` is "connection:API key". `recipients` are in the form that allowlists compare;
    a recipient without @ stands for somebody whom the connection's key does not show.
    `lists` are the allowlists that name a recipient, `attachments` the families and
    kinds of the attached files, and `origins` everything that the message may have come
    from.
    """

    connection: int
    mailbox: int | None = None
    is_inbound: bool = False
    key: str | None = ""
    # The keys that sent earlier versions of an edited message.
    earlier_keys: frozenset[str] = frozenset()
    key_owners: frozenset[int] | None = frozenset()
    recipients: tuple[str, ...] | None = ()
    lists: frozenset[int] | None = frozenset()
    is_first_contact: bool | None = False
    risk_level: str | None = ""
    findings: frozenset[str] | None = frozenset()
    # The sets of words, by `words_key`, of which none is in the message. Any other set
    # has a word in it, or was not looked for.
    lacked_words: frozenset[str] = frozenset()
    # The words that were found with their places (`risk.words`), to show to people.
    words: Mapping[str, str] = field(default_factory=dict, compare=False)
    amounts: tuple[Amount, ...] | None = ()
    # The text around each sum that could not be read, to show to people. If there is
    # any, `amounts` is None.
    unread_sums: tuple[str, ...] = field(default=(), compare=False)
    attachments: frozenset[str] | None = frozenset()
    # The names of attached files whose kinds are not known, to show to people.
    unknown_files: tuple[str, ...] = field(default=(), compare=False)
    origins: frozenset[str] | None = frozenset()
    # What the sender wrote beside the message, each as "name=value".
    metadata: frozenset[str] = frozenset()
    tries: int | None = 1

    @cached_property
    def sees_all_recipients(self) -> bool:
        """Whether all recipients are known by their addresses."""
        return self.recipients is not None and all(
            compared(one) == one for one in self.recipients
        )

    @cached_property
    def entries(self) -> list[frozenset[str]]:
        """For each recipient, every entry of a list or rule that would name them."""
        return list(map(entries_of, self.recipients or ()))


@exactly
@dataclass(frozen=True)
class Conditions:
    """What must be true of a message for a rule to apply. A field with its default
    value is no condition.

    `mailboxes` and `keys` are these and, unless `only_these`, those that are added to
    their connections later. `known` is what the connections had when the rule was
    saved: mailboxes as "connection/key", API keys as "connection:key".
    `recipients` are entries as in allowlists: one of them must name a recipient.
    `recipients_except` holds if a recipient is named by none of its entries. `words`
    are words, phrases and patterns (`risk.words`) of which the message has one. `amount`
    is the least sum that the message must name, 0 for any sum. `metadata` is
    "name=value"; it also holds if the sender did not write that name.
    """

    mailboxes: Keys = frozenset()
    keys: Words = frozenset()
    only_these: bool = False
    known: Words = frozenset()
    key_owners: Keys = frozenset()
    recipients: Words = frozenset()
    recipients_except: Words = frozenset()
    lists: Keys = frozenset()
    lists_except: Keys = frozenset()
    contacts_count: bool = False
    first_contact: bool = False
    risk: str = ""
    findings: Words = frozenset()
    words: Words = frozenset()
    amount: Exact | None = None
    currency: str = ""
    attachments: Words = frozenset()
    recipients_from: int | None = None
    origins: Words = frozenset()
    metadata: str = ""
    tries_from: int | None = None

    def apply_to(self, facts: MessageFacts) -> bool:
        """Whether all of the conditions hold for a message."""
        for check in self._asked:  # noqa: SIM110 - a loop takes half as long as `all`
            if not check(self, facts):
                return False
        return True

    @property
    def is_empty(self) -> bool:
        """Whether they apply to every message."""
        return not self._asked

    def covers(self, other: "Conditions") -> bool:
        """Whether they certainly apply to every message to which `other` applies."""
        if self.is_empty or self == other:
            return True
        return self.words > other.words > frozenset() and self == replace(
            other, words=self.words
        )

    @cached_property
    def words_key(self) -> str:
        """The key of the set of words."""
        return words_key(self.words)

    # Cached: up to 200 rules are checked for each row of a page.
    @cached_property
    def _asked(self) -> list["_Check"]:
        checks = []
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            # An amount of 0 asks for any amount.
            if value or isinstance(value, Decimal):
                checks.append(check)
        return checks


def words_key(words: Iterable[str]) -> str:
    """Return a fingerprint of a set of words. With it the desk stores which sets it has
    looked for in a message.
    """
    written = "\n".join(sorted(words)).encode()
    return hashlib.blake2b(written, digest_size=16).hexdigest()


_Check = Callable[[Conditions, MessageFacts], bool]


def _is_new(when: Conditions, one: str, mark: str) -> bool:
    """Whether a mailbox or API key was added to one of the known connections later."""
    begin = one[: one.find(mark) + 1]
    is_of_these = any(known.startswith(begin) for known in when.known)
    return begin != "" and is_of_these and one not in when.known


def _may_have_key(when: Conditions, facts: MessageFacts) -> bool:
    if facts.key is not None:
        keys = {facts.key, *facts.earlier_keys}
        return any(one in when.keys or _is_new(when, one, ":") for one in keys)
    # The key is not known, but its connection is.
    return any(one.partition(":")[0] == str(facts.connection) for one in when.keys)


def _one_of(name: str) -> _Check:
    """Return a check that holds if the condition and the fact of this name have a value
    in common, or if the fact is not known.
    """

    def check(when: Conditions, facts: MessageFacts) -> bool:
        values: frozenset[Any] | None = getattr(facts, name)
        return values is None or not values.isdisjoint(getattr(when, name))

    return check


def _has_metadata(when: Conditions, facts: MessageFacts) -> bool:
    name = when.metadata[: when.metadata.find("=") + 1]
    is_named = any(one.startswith(name) for one in facts.metadata)
    # Received mail has no metadata.
    return not facts.is_inbound and (not is_named or when.metadata in facts.metadata)


# For each field of Conditions, whether it holds for these facts.
_CHECKS: dict[str, _Check] = {
    "mailboxes": lambda when, facts: (
        facts.mailbox is None
        or facts.mailbox in when.mailboxes
        or _is_new(when, f"{facts.connection}/{facts.mailbox}", "/")
    ),
    "keys": _may_have_key,
    "key_owners": _one_of("key_owners"),
    "recipients": lambda when, facts: (
        not facts.sees_all_recipients
        or any(not one.isdisjoint(when.recipients) for one in facts.entries)
    ),
    "recipients_except": lambda when, facts: (
        not facts.sees_all_recipients
        # Mail to an address with a next hop may reach anybody.
        or any(map(names_next_hop, facts.recipients or ()))
        # "boss@" leaves out that address alone, and not "boss+tag@".
        or any(
            when.recipients_except.isdisjoint(entries - {folded(one)} | {one})
            for one, entries in zip(facts.recipients or (), facts.entries, strict=True)
        )
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
    "words": lambda when, facts: when.words_key not in facts.lacked_words,
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
    "metadata": _has_metadata,
    "tries_from": lambda when, facts: (
        facts.tries is None or facts.tries >= (when.tries_from or 0)
    ),
}


@lru_cache(maxsize=4096)
def entries_of(recipient: str) -> frozenset[str]:
    """Return every entry that names a recipient: the address, also without a tag
    (`folded`), its domains, its top-level domain.

    For an address that routes through a next hop, `patterns_for` returns nothing, since
    no allowlist may let it through. A rule only asks for more, so its domain counts.
    """
    domain = recipient.rpartition("@")[2]
    entries = patterns_for(recipient) or [recipient, *patterns_for(f"x@{domain}")[1:]]
    return frozenset((*entries, folded(recipient), f"*.{domain.rpartition('.')[2]}"))


def read_entry(typed: str) -> str:
    """Return a typed entry of recipients in its normal form. Raises ValueError with a
    sentence if it is none.
    """
    # "*.gov" is too wide for an allowlist, which lets mail out, but not for a rule,
    # which only asks for more.
    return typed.lower() if _TOP_LEVEL.match(typed) else read_pattern(typed)
