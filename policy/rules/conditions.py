"""The conditions of rules, and the facts about a message that they are compared with.
Pure: reads no tables and no clock.

Each kind of condition is one class: the fields that a rule stores, whether it holds, its
words in a sentence, what in the message it is about, and its fields in the editor. To
add one, write its class and name it among the bases of `Conditions`.

All conditions of a rule must hold; a condition with several values holds if one of them
fits. A condition also holds if the desk does not know a fact that it asks for: rules
only ask for more, so in doubt they apply.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
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
from common.pages import same_error
from common.tables import table_pairs
from mirror.attachments import file_types
from policy.errors import RuleError
from policy.rules.fields import (
    ChecksField,
    EntriesField,
    amount_field,
    currency_field,
    number_field,
    tick_field,
)
from risk.rules import RULES
from risk.words import read_phrase

# The families of attached files, then the kinds. A family of the same name means more.
_FAMILIES = table_pairs("""
image | a picture
text | a text file
document | a document
archive | an archive
program | a program
media | sound or film
other | a file of another kind
""")
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
    """The names of what rules refer to, by kinds such as "groups" and by their keys, as
    far as somebody may see them. What is missing was deleted, or, unless `is_whole`, is
    hidden from the person.
    """

    of_rows: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    is_whole: bool = True

    def known(self, kind: str) -> Mapping[Any, str]:
        """Return the names of one of these kinds."""
        fixed = {"attachments": FILES, "findings": FINDINGS}
        return fixed.get(kind) or self.of_rows.get(kind, {})

    def name_of(self, kind: str, key: Any) -> str:
        """Return the name of one of these kinds."""
        if name := self.known(kind).get(key):
            return name
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
        offered = dict.fromkeys((*self.known(kind), *named))
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
    `lists` are the allowlists that name a recipient in any way (`entries_of`);
    `lists_of` has for each recipient the lists whose entries certainly mean them alone
    or their domain. `contacts` are those recipients who are contacts of the account.
    `attachments` are the families and kinds of the attached files, `hosts` where links
    lead or the text names a host.
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
    # The words that are not in the message. Any other word is in it, or was not looked
    # for.
    lacked_words: frozenset[str] = frozenset()
    # The words that were found with their places (`risk.words`), to show to people.
    words: Mapping[str, str] = field(default_factory=dict, compare=False)
    amounts: tuple[Amount, ...] | None = ()
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

    @cached_property
    def entries(self) -> dict[str, frozenset[str]]:
        """By recipient, every entry of a list or rule that would name them."""
        return {one: entries_of(one) for one in self.recipients or ()}


Fields = Mapping[str, forms.Field]


@dataclass(frozen=True)
class Condition:
    """One kind of condition. `editor` has its fields in the editor by name; the first is
    what it asks for, and empty if it is not asked for. `needs` names the facts without
    which nobody can tell whether it holds, and `says` is its part of a sentence that
    begins with "When a message".
    """

    editor: ClassVar[Fields]
    needs: ClassVar[list[str]] = []
    says: ClassVar[str] = ""

    @property
    def value(self) -> Any:
        """What it asks for."""
        return getattr(self, KINDS[type(self)])

    def holds(self, facts: MessageFacts) -> bool | None:
        """Whether it holds; None if the desk does not know enough to tell."""
        if any(getattr(facts, one) is None for one in self.needs):
            return None
        return self.fits(facts)

    def fits(self, facts: MessageFacts) -> bool:
        """Whether it holds, where the facts that it needs are known."""
        return any(True for _ in self.passages(facts))

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        """Return because of what in the message it holds, as people read it there."""
        return ()

    def words_in(self, names: Names) -> str:
        """Return its part of a sentence."""
        value = self.value
        field = self.editor[KINDS[type(self)]]
        if isinstance(field, ChecksField):
            value = names.any_of(field.of, value)
        elif isinstance(field, EntriesField):
            value = any_of(value)
        return self.says.format(value)


@dataclass(frozen=True)
class _OneOf(Condition):
    """Holds if one of the chosen values is that of the fact that it needs last, or one
    of those.
    """

    def fits(self, facts: MessageFacts) -> bool:
        fact = getattr(facts, self.needs[-1])
        return not self.value.isdisjoint(
            fact if isinstance(fact, frozenset) else {fact}
        )


@dataclass(frozen=True)
class _Of(Condition):
    """What the conditions on mailboxes and keys share. Unless `only_these`, they are also
    about those that are added to the connections later: `known` are those that the
    connections had when the rule was saved, mailboxes as "connection/key", API keys as
    "connection:key".
    """

    only_these: bool = False
    known: Words = frozenset()

    # What is between the keys of a connection and of the mailbox or API key.
    mark: ClassVar[str]

    def is_new(self, one: str) -> bool:
        """Whether a mailbox or API key was added to a known connection later."""
        begin = one[: one.find(self.mark) + 1]
        is_of_these = any(known.startswith(begin) for known in self.known)
        is_known = not begin or one in self.known
        return is_of_these and not (is_known or self.only_these)

    def key_of(self, known: str) -> Any:
        """Return the key by which a condition names one of `known`."""
        return known

    def words_in(self, names: Names) -> str:
        words = super().words_in(names)
        if self.only_these:
            return words
        there = {self.key_of(one) for one in self.known if self.mark in one}
        shown = names.any_of(KINDS[type(self)], there - self.value)
        but = f" (not {shown})" if shown else ""
        return f"{words}, or one added to its connection later{but}"


@dataclass(frozen=True)
class OfConnection(_OneOf):
    """It belongs to one of these connections."""

    connections: Keys = frozenset()
    needs = ["connection"]
    says = "is of the connection {}"
    editor = {"connections": ChecksField("Connections", "connections", int)}


@dataclass(frozen=True)
class InMailbox(_Of):
    """It is in one of these mailboxes."""

    mailboxes: Keys = frozenset()
    needs = ["mailbox"]
    says = "is in {}"
    mark = "/"
    editor = {
        "mailboxes": ChecksField(
            "Mailboxes", "mailboxes", int, "Of several, one that fits is enough."
        )
    }

    def fits(self, facts: MessageFacts) -> bool:
        place = f"{facts.connection}/{facts.mailbox}"
        return facts.mailbox in self.mailboxes or self.is_new(place)

    def key_of(self, known: str) -> int:
        return int(known.rpartition("/")[2])


@dataclass(frozen=True)
class FromKey(_Of):
    """It, or a version that was edited since, came with one of these API keys."""

    keys: Words = frozenset()
    says = "comes from the API key {}"
    mark = ":"
    editor = {
        "keys": ChecksField(
            "API keys",
            "keys",
            help_text="Those that sent something in the last 30 days, or have an owner.",
        ),
        "only_these": tick_field(
            "Only these mailboxes and API keys",
            "Else also those that are added to their connections later.",
        ),
    }

    def holds(self, facts: MessageFacts) -> bool | None:
        came_with = {*facts.earlier_keys, facts.key or ""}
        if any(one in self.keys or self.is_new(one) for one in came_with):
            return True
        if facts.key is not None:
            return False
        # The key is not known, but its connection is.
        begin = f"{facts.connection}:"
        is_of_these = any(one.startswith(begin) for one in self.keys | self.known)
        return None if is_of_these else False


@dataclass(frozen=True)
class HasMetadata(Condition):
    """Its sender wrote this "name=value" beside it, or did not write that name."""

    metadata: str = ""
    says = "has the metadata {}, or does not say"
    editor = {
        "metadata": forms.RegexField(
            r"\A[^\s=]+=\S.*\Z",
            label="Metadata",
            help_text="Such as tier=gold. It also applies where the sender did not write that name.",
            required=False,
            max_length=300,
            error_messages=same_error("Write name=value, without blanks around “=”."),
        )
    }

    def fits(self, facts: MessageFacts) -> bool:
        name = self.metadata[: self.metadata.find("=") + 1]
        is_named = any(one.startswith(name) for one in facts.metadata)
        # Received mail has no metadata.
        return not facts.is_inbound and (
            not is_named or self.metadata in facts.metadata
        )


@dataclass(frozen=True)
class IsTry(Condition):
    """It was sent again at least this many times, counting the first."""

    tries_from: int | None = None
    needs = ["tries"]
    says = "is at least try {}"
    editor = {
        "tries_from": number_field(
            "Try number, at least", 1000, "2: changes were requested once before."
        )
    }

    def fits(self, facts: MessageFacts) -> bool:
        return (facts.tries or 0) >= (self.tries_from or 0)


@dataclass(frozen=True)
class ToAny(Condition):
    """An entry, written as in allowlists, names one of its recipients."""

    recipients: Words = frozenset()
    needs = ["seen_recipients"]
    says = "goes to {}"
    editor = {"recipients": EntriesField("Goes to any of these", read_entry)}

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        for one, entries in facts.entries.items():
            if not entries.isdisjoint(self.recipients):
                yield one


@dataclass(frozen=True)
class ToOthers(Condition):
    """One of its recipients is named by none of these entries."""

    recipients_except: Words = frozenset()
    needs = ["seen_recipients"]
    says = "goes to somebody other than {}"
    editor = {
        "recipients_except": EntriesField(
            "Goes to anybody other than these", read_entry
        )
    }

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        for one, entries in facts.entries.items():
            # "boss@" leaves out that address alone, and not "boss+tag@"; and mail to an
            # address with a next hop may reach anybody.
            named = entries - {folded(one)} | {one}
            if names_next_hop(one) or self.recipients_except.isdisjoint(named):
                yield one


@dataclass(frozen=True)
class ToListed(_OneOf):
    """One of these allowlists names one of its recipients."""

    lists: Keys = frozenset()
    needs = ["seen_recipients", "lists"]
    says = "goes to somebody on the allowlist {}"
    editor = {"lists": ChecksField("Goes to anybody on these allowlists", "lists", int)}


@dataclass(frozen=True)
class ToUnlisted(Condition):
    """One of its recipients is on none of these allowlists, and no contact of the
    account if `contacts_count`.
    """

    lists_except: Keys = frozenset()
    contacts_count: bool = False
    needs = ["seen_recipients", "lists_of"]
    says = "goes to somebody who is not on the allowlist {}"
    editor = {
        "lists_except": ChecksField(
            "Goes to anybody who is on none of these allowlists", "lists", int
        ),
        "contacts_count": tick_field(
            "Contacts of the account count as listed",
            "But those that a key with send added.",
        ),
    }

    def holds(self, facts: MessageFacts) -> bool | None:
        is_unlisted = super().holds(facts)
        # If all are on the lists, it does not matter who is a contact.
        if is_unlisted and self.contacts_count and facts.contacts is None:
            return None
        return is_unlisted

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        if facts.is_inbound or facts.lists_of is None:
            return
        known = (facts.contacts if self.contacts_count else None) or ()
        for one, on in zip(facts.recipients or (), facts.lists_of, strict=True):
            if self.lists_except.isdisjoint(on) and one not in known:
                yield one

    def words_in(self, names: Names) -> str:
        contact = " and no contact" if self.contacts_count else ""
        return super().words_in(names) + contact


@dataclass(frozen=True)
class ToFirstContact(Condition):
    """It goes to somebody for the first time."""

    first_contact: bool = False
    needs = ["is_first_contact"]
    says = "goes to somebody for the first time"
    editor = {"first_contact": tick_field("Goes to somebody for the first time")}

    def fits(self, facts: MessageFacts) -> bool:
        return bool(facts.is_first_contact)


@dataclass(frozen=True)
class ToMany(Condition):
    """It goes to at least this many recipients."""

    recipients_from: int | None = None
    needs = ["seen_recipients"]
    says = "goes to at least {} recipients"
    editor = {
        "recipients_from": number_field("Number of recipients, at least", 100_000)
    }

    def fits(self, facts: MessageFacts) -> bool:
        return len(facts.recipients or ()) >= (self.recipients_from or 0)


@dataclass(frozen=True)
class HasRisk(Condition):
    """Its risk is high."""

    high_risk: bool = False
    needs = ["risk_level"]
    says = "is high risk"
    editor = {"high_risk": tick_field("High risk")}

    def fits(self, facts: MessageFacts) -> bool:
        return facts.risk_level == "high"


@dataclass(frozen=True)
class HasFinding(_OneOf):
    """It has one of these findings."""

    findings: Words = frozenset()
    needs = ["findings"]
    says = "has the finding {}"
    editor = {"findings": ChecksField("Findings", "findings")}

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return facts.unknown_files if RUNS_CODE in self.findings else ()


@dataclass(frozen=True)
class HasWord(Condition):
    """It has one of these words, phrases and patterns (`risk.words`)."""

    words: Sought = frozenset()
    says = "contains {}"
    editor = {
        "words": EntriesField(
            "Words",
            read_word,
            "A word or phrase on each line. It is looked for in subject, text, names of files, names and addresses. "
            "In a word, * is any letters and digits or none, ? one of them, # one digit.",
            most=MOST_WORDS,
        )
    }

    def holds(self, facts: MessageFacts) -> bool | None:
        if not self.words.isdisjoint(facts.words):
            return True
        return False if self.words <= facts.lacked_words else None

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return sorted(self.words & facts.words.keys())

    def words_in(self, names: Names) -> str:
        return self.says.format(any_of(f"“{one}”" for one in self.words))


@dataclass(frozen=True)
class NamesAmount(Condition):
    """It names a sum of at least this, 0 for any sum; in this currency, or in any."""

    amount: Decimal | None = None
    currency: str = ""
    needs = ["amounts"]
    editor = {
        "amount": amount_field("An amount of at least", "0 for any amount."),
        "currency": currency_field("Such as EUR; empty for any."),
    }

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        yield from filter(None, facts.unread_sums)
        for one in facts.amounts or ():
            is_of_it = not self.currency or one.currency in ("", self.currency)
            if is_of_it and one.value >= (self.amount or 0):
                amount = f"{one.currency} {one.value:,.2f}".strip()
                yield facts.sums.get(one.currency, amount)

    def words_in(self, names: Names) -> str:
        currency = f" {self.currency}" if self.currency else ""
        if not self.amount:
            return f"names any{currency} amount"
        return f"names an amount of at least {self.amount:f}{currency}"


@dataclass(frozen=True)
class HasAttachment(_OneOf):
    """A file of one of these families or kinds may be attached."""

    attachments: Words = frozenset()
    needs = ["attachments"]
    says = "has {} attached"
    editor = {"attachments": ChecksField("Attachments", "attachments")}

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return facts.unknown_files


@dataclass(frozen=True)
class HasLink(Condition):
    """It has a link, or names a host as in a link."""

    has_link: bool = False
    needs = ["hosts"]
    says = "has a link"
    editor = {"has_link": tick_field("Has a link")}

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return sorted(facts.hosts or ())


@dataclass(frozen=True)
class LinksElsewhere(Condition):
    """It has a link to, or names, a host that is of none of these domains."""

    links_except: Words = frozenset()
    needs = ["hosts"]
    says = "has a link to anywhere but {}"
    editor = {
        "links_except": EntriesField(
            "Has a link to anywhere but these domains",
            read_domain,
            "A domain or *.domain on each line.",
        )
    }

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        for one in sorted(facts.hosts or ()):
            if self.links_except.isdisjoint(patterns_for(f"x@{one}")[1:]):
                yield one


@exactly
@dataclass(frozen=True)
class Conditions(
    LinksElsewhere,
    HasLink,
    HasAttachment,
    NamesAmount,
    HasWord,
    HasFinding,
    HasRisk,
    ToMany,
    ToFirstContact,
    ToUnlisted,
    ToListed,
    ToOthers,
    ToAny,
    IsTry,
    HasMetadata,
    FromKey,
    InMailbox,
    OfConnection,
):
    """What must be true of a message for a rule to apply. A field with its default
    value is no condition.
    """

    def apply_to(self, facts: MessageFacts) -> bool:
        """Whether all of the conditions hold for a message, or may hold."""
        return all(one.holds(facts) is not False for one in self.asked)

    def certainly_apply_to(self, facts: MessageFacts) -> bool:
        """Whether all of the conditions hold for a message, none of them in doubt."""
        return all(one.holds(facts) for one in self.asked)

    def passages(self, facts: MessageFacts) -> Iterable[str]:
        return chain.from_iterable(one.passages(facts) for one in self.asked)

    # Cached: up to 500 rules are checked for each row of a page.
    @cached_property
    def asked(self) -> list[Condition]:
        """Those conditions that have a value."""
        return [
            kind(**{one.name: getattr(self, one.name) for one in fields(kind)})
            for kind, name in KINDS.items()
            if _is_set(getattr(self, name))
        ]


def _is_set(value: object) -> bool:
    # An amount of 0 asks for any amount, and equals False.
    return not (value is None or value is False or value in ("", frozenset()))


# Each kind of condition, in the order of sentences and of the editor, with the field
# that says whether it is asked for.
KINDS: dict[type[Condition], str] = {
    kind: next(iter(kind.editor))
    for kind in reversed(Conditions.__bases__)
    if issubclass(kind, Condition)
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
