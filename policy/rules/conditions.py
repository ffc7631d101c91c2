"""The conditions of rules, and the facts about a message that they are compared with.
Pure: reads no tables and no clock.

`Conditions` has the values that a rule stores. What asks for one of them is a class:
whether it holds, its words in a sentence, what in the message it is about, and its fields
in the editor. To add one, add its value to `Conditions`, and its class to `KINDS`.

All conditions of a rule must hold; a condition with several values holds if one of them
fits. A condition also holds if the desk does not know a fact that it asks for: rules
only ask for more, so in doubt they apply.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import chain
from typing import Annotated, Any, ClassVar, TypeVar, cast

from django import forms
from django.utils.text import get_text_list
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
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
from common.pages import same_error, tick_field
from common.tables import table_pairs
from mirror.attachments import file_types
from policy.errors import RuleError
from policy.rules.fields import (
    ChecksField,
    EntriesField,
    money_field,
    money_in_words,
    number_field,
)
from risk.rules import RULES
from risk.words import read_phrase

# The families of attached files, then the kinds. A family of the same name means more.
_FAMILIES = {
    "image": "a picture",
    "text": "a text file",
    "document": "a document",
    "archive": "an archive",
    "program": "a program",
    "media": "sound or film",
    "other": "a file of another kind",
}
FILES = _FAMILIES | {
    one.name: one.words
    for one in file_types.KINDS.values()
    if one.name not in _FAMILIES
}
FINDINGS = {one.name: one.words for one in RULES.values()}
# What rules name by key or word, each as one of it is called.
_KINDS = table_pairs("""
connections | connection
mailboxes | mailbox
keys | API key
lists | list
groups | group
calendars | calendar
findings | finding
attachments | file of kind
""")


@dataclass(frozen=True)
class Names:
    """The names, or rows, of what rules refer to, by kinds such as "groups" and by their
    keys, as far as somebody may see them. What is missing was deleted, or, unless
    `is_whole`, is hidden from the person.
    """

    of_kind: Mapping[str, Mapping[Any, object]] = field(default_factory=dict)
    is_whole: bool = True

    def name_of(self, kind: str, key: Any) -> str:
        """Return the name of one of these kinds."""
        if named := self.of_kind.get(kind, {}).get(key):
            return str(named)
        if kind == "keys":
            # A key that sent nothing lately has no name here, but may exist.
            return str(key).partition(":")[2]
        what = _KINDS[kind]
        return f"{what} {key} (deleted)" if self.is_whole else f"another {what}"

    def whose(self, group: int) -> str:
        """Return the name of a group; of the key 0, "any reviewer"."""
        return self.name_of("groups", group) if group else "any reviewer"

    def any_of(self, kind: str, keys: Iterable[Any]) -> str:
        """Return the names of several, joined: "Finance or Legal"."""
        return any_of({self.name_of(kind, one) for one in keys})

    def choices(self, kind: str, named: Iterable[Any]) -> list[tuple[str, str]]:
        """Return the choices of a form: all of this kind, and those that are `named`
        already, although they may be gone.
        """
        offered = dict.fromkeys((*self.of_kind.get(kind, {}), *named))
        return [(str(one), self.name_of(kind, one)) for one in offered]


def any_of(parts: Iterable[str]) -> str:
    """Return parts joined as in a sentence: "a, b or c"."""
    return get_text_list(sorted(parts), "or")


# Stored as sorted lists, so that equal rules are stored alike.
Keys = Annotated[frozenset[int], PlainSerializer(sorted)]
Words = Annotated[frozenset[str], PlainSerializer(sorted)]
Stored = TypeVar("Stored")
# Decorates a dataclass that is stored as JSON: unknown fields and values of other types
# are errors.
exactly = with_config(ConfigDict(extra="forbid", strict=True))


@lru_cache
def stored_as(kind: Any) -> TypeAdapter[Any]:
    """Return what reads and writes a dataclass as JSON, without default values."""
    return TypeAdapter(kind)


def from_json(kind: type[Stored], value: object) -> Stored:
    """Return the stored dataclass of this type. Raises RuleError if the value is not
    one.
    """
    try:
        result: Stored = stored_as(cast(Any, kind)).validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise RuleError(f"{first['msg']} ({place}).") from None
    return result


# The finding that an attached file can run code.
RUNS_CODE = "attachment_runs_code"
MOST_WORDS = 100


# A whole top-level domain, such as "*.gov".
_TOP_LEVEL = re.compile(r"\A\*\.[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z")


def read_entry(typed: str) -> str:
    """Return a typed entry of recipients in its normal form. Raises ValueError with a
    sentence if it is none.
    """
    # "*.gov" is too wide for an allowlist, which lets mail out, but not for a rule,
    # which only asks for more.
    return typed.lower() if _TOP_LEVEL.match(typed) else read_pattern(typed)


def read_domain(typed: str) -> str:
    """Return a typed domain as `read_entry` does."""
    entry = read_pattern(typed)
    if "@" in entry:
        raise ValueError("Name domains, not addresses.")
    return entry


def read_word(typed: str) -> str:
    """Return a typed word, phrase or pattern. Raises ValueError with a sentence."""
    try:
        return read_phrase(typed).text
    except ValueError as error:
        raise ValueError(f"“{typed[:40]}”: {error}") from None


Sought = Annotated[
    frozenset[Annotated[str, AfterValidator(read_word)]],
    Field(max_length=MOST_WORDS),
    PlainSerializer(sorted),
]


@dataclass(frozen=True)
class MessageFacts:
    """The facts about a message that conditions are compared with. None means that the
    desk does not know.

    `key` is "connection:API key". `recipients` are in the form that allowlists compare;
    a recipient without @ stands for somebody whom the connection's key does not show.
    `lists` are the allowlists that name a recipient in any way (`entries_of`);
    `lists_of` has for each recipient the lists whose entries certainly mean them alone
    or their domain. `contacts` are those recipients who are contacts of the account.
    `amounts` has the largest sum by currency, as a decimal text; a currency that is not
    certain is empty, and counts as every currency. `attachments` are the families and
    kinds of the attached files, `hosts` where links lead or the text names a host.
    """

    connection: int
    mailbox: int | None = None
    is_inbound: bool = False
    key: str | None = ""
    # The keys that sent earlier versions of an edited message.
    earlier_keys: frozenset[str] = frozenset()
    recipients: tuple[str, ...] | None = ()
    lists: frozenset[int] | None = frozenset()
    lists_of: tuple[frozenset[int], ...] | None = ()
    contacts: frozenset[str] | None = frozenset()
    is_first_contact: bool | None = False
    risk_level: str | None = ""
    findings: frozenset[str] | None = frozenset()
    # The names of facts of which a part is known: what is not in it may be in the rest.
    in_part: frozenset[str] = frozenset()
    # The place (`risk.words`) of each word that was looked for, empty if the message does
    # not have it.
    words: Mapping[str, str] = field(default_factory=dict, hash=False)
    amounts: Mapping[str, str] | None = field(default_factory=dict, hash=False)
    # The passages that name the largest sums, by currency, to show to people.
    sums: Mapping[str, str] = field(default_factory=dict, compare=False)
    # The text around each sum that could not be read, to show to people. If there is
    # any, `amounts` is None.
    unread_sums: tuple[str, ...] = field(default=(), compare=False)
    attachments: frozenset[str] | None = frozenset()
    # The names of attached files whose kinds are not known, to show to people.
    unknown_files: tuple[str, ...] = field(default=(), compare=False)
    hosts: frozenset[str] | None = frozenset()
    # Whether an agent sent it, and claims nobody else behind it.
    is_agents_alone: bool = False
    # Whether somebody at the desk edited it or wrote words of it.
    is_edited: bool = False
    # What the sender wrote beside the message, each as "name=value".
    metadata: frozenset[str] = frozenset()
    tries: int | None = 1

    @cached_property
    def seen_recipients(self) -> tuple[str, ...] | None:
        """The recipients; None unless all of them are known by their addresses."""
        recipients = self.recipients
        if recipients is None or any(compared(one) != one for one in recipients):
            return None
        return recipients


Fields = Mapping[str, forms.Field]


@dataclass(frozen=True)
class Condition:
    """One condition of a rule: `value` is what it asks for, and `when` has all conditions
    of the rule. `field` is the field of its value in the editor, and `more` has others by
    name. `needs` names the facts without which nobody can tell whether it holds, and
    `says` is its part of a sentence that begins with "When a message".
    """

    when: "Conditions"
    value: Any

    field: ClassVar[forms.Field]
    more: ClassVar[Fields] = {}
    needs: ClassVar[list[str]] = []
    says: ClassVar[str] = ""

    def holds(self, facts: MessageFacts) -> bool | None:
        """Whether it holds; None if the desk does not know enough to tell."""
        if any(getattr(facts, one) is None for one in self.needs):
            return None
        return self.fits(facts) or (
            None if facts.in_part.intersection(self.needs) else False
        )

    def fits(self, facts: MessageFacts) -> bool:
        """Whether it holds, where the facts that it needs are known."""
        return any(True for _ in self.passages(facts))

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        """Return because of what in the message it holds, as people read it there."""
        return ()

    def words_in(self, names: Names) -> str:
        """Return its part of a sentence."""
        value = self.value
        if isinstance(self.field, ChecksField):
            value = names.any_of(self.field.of, value)
        elif isinstance(self.field, EntriesField):
            value = any_of(value)
        return self.says.format(value)


class _OneOf(Condition):
    """Holds if one of the chosen values is that of the fact that it needs last, or one
    of those.
    """

    def fits(self, facts: MessageFacts) -> bool:
        fact = getattr(facts, self.needs[-1])
        return not self.value.isdisjoint(
            fact if isinstance(fact, frozenset) else {fact}
        )


class _Of(Condition):
    """What the conditions on mailboxes and keys share. Unless `only_these`, they are also
    about those that are added to the connections later: `known` are those that the
    connections had when the rule was saved, mailboxes as "connection/key", API keys as
    "connection:key".
    """

    field: ClassVar[ChecksField]
    # What is between the keys of a connection and of the mailbox or API key.
    mark: ClassVar[str]

    def is_new(self, one: str) -> bool:
        """Whether a mailbox or API key was added to a known connection later."""
        begin = one[: one.find(self.mark) + 1]
        is_of_these = any(known.startswith(begin) for known in self.when.known)
        is_known = not begin or one in self.when.known
        return is_of_these and not (is_known or self.when.only_these)

    def key_of(self, known: str) -> Any:
        """Return the key by which a condition names one of `known`."""
        return known

    def words_in(self, names: Names) -> str:
        words = super().words_in(names)
        if self.when.only_these:
            return words
        there = {self.key_of(one) for one in self.when.known if self.mark in one}
        shown = names.any_of(self.field.of, there - self.value)
        but = f" (not {shown})" if shown else ""
        return f"{words}, or one added to its connection later{but}"


class OfConnection(_OneOf):
    """It belongs to one of these connections."""

    needs = ["connection"]
    says = "is of the connection {}"
    field = ChecksField("Connections", "connections", int)


class InMailbox(_Of):
    """It is in one of these mailboxes."""

    needs = ["mailbox"]
    says = "is in {}"
    mark = "/"
    field = ChecksField(
        "Mailboxes", "mailboxes", int, help_text="One of them is enough."
    )

    def fits(self, facts: MessageFacts) -> bool:
        place = f"{facts.connection}/{facts.mailbox}"
        return facts.mailbox in self.value or self.is_new(place)

    def key_of(self, known: str) -> int:
        return int(known.rpartition("/")[2])


class FromKey(_Of):
    """It, or a version that was edited since, came with one of these API keys."""

    says = "comes from the API key {}"
    mark = ":"
    field = ChecksField(
        "API keys",
        "keys",
        help_text="Those that sent something in the last 30 days, or have an owner.",
    )
    more = {
        "only_these": tick_field(
            "Only these mailboxes and API keys",
            "Otherwise also those that are added to their connections later.",
        )
    }

    def holds(self, facts: MessageFacts) -> bool | None:
        came_with = {*facts.earlier_keys, facts.key or ""}
        if any(one in self.value or self.is_new(one) for one in came_with):
            return True
        if facts.key is not None:
            return False
        # The key is not known, but its connection is.
        begin = f"{facts.connection}:"
        is_of_these = any(one.startswith(begin) for one in self.value | self.when.known)
        return None if is_of_these else False


class HasMetadata(Condition):
    """Its sender wrote this "name=value" beside it, or did not write that name."""

    says = "has the metadata {}, or does not say"
    field = forms.RegexField(
        r"\A[^\s=]+=\S.*\Z",
        label="Metadata",
        help_text="Such as tier=gold. It also applies where the sender did not write that name.",
        required=False,
        max_length=300,
        error_messages=same_error("Write name=value, without blanks around “=”."),
    )

    def fits(self, facts: MessageFacts) -> bool:
        name = self.value[: self.value.find("=") + 1]
        is_named = any(one.startswith(name) for one in facts.metadata)
        # Received mail has no metadata.
        return not facts.is_inbound and (not is_named or self.value in facts.metadata)


class IsTry(Condition):
    """It was sent again at least this many times, counting the first."""

    needs = ["tries"]
    says = "is at least try {}"
    field = number_field(
        "Try number, at least", 1000, "2: changes were requested once before."
    )

    def fits(self, facts: MessageFacts) -> bool:
        return bool((facts.tries or 0) >= self.value)


class ToAny(Condition):
    """An entry, written as in allowlists, names one of its recipients."""

    needs = ["seen_recipients"]
    says = "goes to {}"
    field = EntriesField("Goes to any of these", read_entry)

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        for one in facts.recipients or ():
            if not self.value.isdisjoint(entries_of(one)):
                yield one


class ToOthers(Condition):
    """One of its recipients is named by none of these entries."""

    needs = ["seen_recipients"]
    says = "goes to somebody other than {}"
    field = EntriesField("Goes to anybody other than these", read_entry)

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        for one in facts.recipients or ():
            # "boss@" leaves out that address alone, and not "boss+tag@"; and mail to an
            # address with a next hop may reach anybody.
            named = entries_of(one) - {folded(one)} | {one}
            if names_next_hop(one) or self.value.isdisjoint(named):
                yield one


class ToListed(_OneOf):
    """One of these allowlists names one of its recipients."""

    needs = ["seen_recipients", "lists"]
    says = "goes to somebody on the allowlist {}"
    field = ChecksField("Goes to anybody on these allowlists", "lists", int)


class ToUnlisted(Condition):
    """One of its recipients is on none of these allowlists, and no contact of the
    account if `contacts_count`.
    """

    needs = ["seen_recipients", "lists_of"]
    says = "goes to somebody who is not on the allowlist {}"
    field = ChecksField("Has a recipient on none of these allowlists", "lists", int)
    more = {
        "contacts_count": tick_field(
            "Contacts of the account count as listed",
            "Except those that a key with the scope send added.",
        )
    }

    def holds(self, facts: MessageFacts) -> bool | None:
        is_unlisted = super().holds(facts)
        # If all are on the lists, it does not matter who is a contact.
        if is_unlisted and self.when.contacts_count and facts.contacts is None:
            return None
        return is_unlisted

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        if facts.is_inbound or facts.lists_of is None:
            return
        known = (facts.contacts if self.when.contacts_count else None) or ()
        for one, on in zip(facts.recipients or (), facts.lists_of, strict=True):
            if self.value.isdisjoint(on) and one not in known:
                yield one

    def words_in(self, names: Names) -> str:
        contact = " and no contact" if self.when.contacts_count else ""
        return super().words_in(names) + contact


class ToFirstContact(Condition):
    """It goes to somebody for the first time."""

    needs = ["is_first_contact"]
    says = "goes to somebody for the first time"
    field = tick_field("Goes to somebody for the first time")

    def fits(self, facts: MessageFacts) -> bool:
        return bool(facts.is_first_contact)


class ToMany(Condition):
    """It goes to at least this many recipients."""

    needs = ["seen_recipients"]
    says = "goes to at least {} recipients"
    field = number_field("Number of recipients, at least", 100_000)

    def fits(self, facts: MessageFacts) -> bool:
        return bool(len(facts.recipients or ()) >= self.value)


class HasRisk(Condition):
    """Its risk is high."""

    needs = ["risk_level"]
    says = "is high risk"
    field = tick_field("High risk")

    def fits(self, facts: MessageFacts) -> bool:
        return facts.risk_level == "high"

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return facts.unknown_files if "risk_level" in facts.in_part else ()


class HasFinding(_OneOf):
    """It has one of these findings."""

    needs = ["findings"]
    says = "has the finding {}"
    field = ChecksField("Findings", "findings")

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        is_of_files = not self.value.isdisjoint((RUNS_CODE, "risky_attachment"))
        return facts.unknown_files if is_of_files else ()


class HasWord(Condition):
    """It has one of these words, phrases and patterns (`risk.words`)."""

    says = "contains {}"
    field = EntriesField(
        "Words",
        read_word,
        "A word or phrase on each line. It is looked for in subject, text, names of files, names and addresses. "
        "In a word, * is any letters and digits or none, ? one of them, # one digit.",
        most=MOST_WORDS,
    )

    def holds(self, facts: MessageFacts) -> bool | None:
        if self.fits(facts):
            return True
        return False if self.value <= facts.words.keys() else None

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return sorted(filter(facts.words.get, self.value))

    def words_in(self, names: Names) -> str:
        return self.says.format(any_of(f"“{one}”" for one in self.value))


class NamesAmount(Condition):
    """It names a sum of at least this, 0 for any sum; in this currency, or in any."""

    needs = ["amounts"]
    field = money_field(
        "An amount of at least",
        "EUR 0 means any amount in EUR. Without a currency, amounts in any count.",
    )

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        yield from filter(None, facts.unread_sums)
        for currency, largest in (facts.amounts or {}).items():
            is_other = self.when.currency not in ("", currency) and currency
            amount = Decimal(largest)
            if amount >= self.value and not is_other:
                yield facts.sums.get(currency, money_in_words(amount, currency))

    def words_in(self, names: Names) -> str:
        if self.value:
            least = money_in_words(self.value, self.when.currency)
            return f"names an amount of at least {least}"
        return " ".join(f"names any {self.when.currency} amount".split())


class HasAttachment(_OneOf):
    """A file of one of these families or kinds may be attached."""

    needs = ["attachments"]
    says = "has {} attached"
    field = ChecksField("Attachments", "attachments")

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return facts.unknown_files


class HasLink(Condition):
    """It has a link, or names a host as in a link."""

    needs = ["hosts"]
    says = "has a link"
    field = tick_field("Has a link")

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return sorted(facts.hosts or ())


class LinksElsewhere(Condition):
    """It has a link to, or names, a host that is of none of these domains."""

    needs = ["hosts"]
    says = "has a link to anywhere but {}"
    field = EntriesField(
        "Has a link to anywhere but these domains",
        read_domain,
        "A domain or *.domain on each line.",
    )

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        for one in sorted(facts.hosts or ()):
            if self.value.isdisjoint(patterns_for(f"x@{one}")[1:]):
                yield one


@exactly
@dataclass(frozen=True)
class Conditions:
    """What must be true of a message for a rule to apply. A field with its default
    value is no condition.
    """

    connections: Keys = frozenset()
    mailboxes: Keys = frozenset()
    keys: Words = frozenset()
    only_these: bool = False
    # The mailboxes ("connection/key") and API keys ("connection:key") that the
    # connections of the named ones had when the rule was saved.
    known: Words = frozenset()
    metadata: str = ""
    tries_from: int | None = None
    recipients: Words = frozenset()
    recipients_except: Words = frozenset()
    lists: Keys = frozenset()
    lists_except: Keys = frozenset()
    contacts_count: bool = False
    first_contact: bool = False
    recipients_from: int | None = None
    high_risk: bool = False
    findings: Words = frozenset()
    words: Sought = frozenset()
    amount: Decimal | None = None
    currency: str = ""
    attachments: Words = frozenset()
    has_link: bool = False
    links_except: Words = frozenset()

    def apply_to(self, facts: MessageFacts) -> bool:
        """Whether all of the conditions hold for a message, or may hold."""
        return all(one.holds(facts) is not False for one in self.asked)

    def certainly_apply_to(self, facts: MessageFacts) -> bool:
        """Whether all of the conditions hold for a message, none of them in doubt."""
        return all(one.holds(facts) for one in self.asked)

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        """Return because of what in a message the conditions hold."""
        return chain.from_iterable(one.passages(facts) for one in self.asked)

    @property
    def are_of_mailboxes(self) -> bool:
        """Whether connections and mailboxes are all that they ask for."""
        return {*map(type, self.asked)} <= {OfConnection, InMailbox}

    # Cached: up to 500 rules are checked for each row of a page.
    @cached_property
    def asked(self) -> list[Condition]:
        """Those conditions that have a value."""
        # An amount of 0 asks for any amount, and equals False.
        return [
            kind(self, value)
            for name, kind in KINDS.items()
            if (value := getattr(self, name)) or isinstance(value, Decimal)
        ]


# Each kind of condition by the name of its value, in the order of sentences and of the
# editor.
KINDS: dict[str, type[Condition]] = {
    "connections": OfConnection,
    "mailboxes": InMailbox,
    "keys": FromKey,
    "metadata": HasMetadata,
    "tries_from": IsTry,
    "recipients": ToAny,
    "recipients_except": ToOthers,
    "lists": ToListed,
    "lists_except": ToUnlisted,
    "first_contact": ToFirstContact,
    "recipients_from": ToMany,
    "high_risk": HasRisk,
    "findings": HasFinding,
    "words": HasWord,
    "amount": NamesAmount,
    "attachments": HasAttachment,
    "has_link": HasLink,
    "links_except": LinksElsewhere,
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
