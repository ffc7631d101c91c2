"""The address lines of a message (From, Reply-To, To, Cc, Bcc) as pages show them: each
address whole, then its name, what the desk knows about it, and warnings.

Warnings come from the findings that are stored with the revision. What is known of all
addresses is read in one query per connection.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from approvals.message_page.content.source import NAMES
from common.actors import Actor
from common.ascii import lowered
from common.fingerprint import Content
from common.mail_addresses import is_unclear
from common.tables import table_pairs
from mirror.models import Mailbox, Message
from mirror.recipients import Contact, contacts_of_actor
from mirror.states import MessageState
from rendering import named
from rendering.links import in_punycode, unicode_host
from risk.addresses import bare_address, shown_name
from risk.findings import address_id, restored
from risk.lookalikes import (
    Comparison,
    alike_pairs,
    compare_names,
    has_mixed_scripts,
    passes_for_latin,
)

# How many addresses of one line are shown. The line says how many more there are, and
# the "Headers" tab lists all.
SHOWN = 60
# How many characters of an address are spelled out.
SPELLED = 40
# A Reply-To with more characters is not split into addresses.
MAX_REPLY_TO = 100_000
# In a line with more addresses than this, a mark such as "new" on each would hide the
# warnings.
MAX_MARKED = 4
# Names of scripts by the first word of a character's Unicode name.
_SCRIPTS = table_pairs("""
LATIN | Latin
CYRILLIC | Cyrillic
GREEK | Greek
DIGIT | digit
CJK | Han
""")
# How the last message to an address ended, by its state.
_ENDS = {
    "delivered": "last delivered",
    "bounced": "last bounced",
    "complained": "last marked as spam",
    "rejected": "last rejected here",
    "sent": "last sent",
    "approved": "last approved",
    "scheduled_approved": "last approved",
}
# The warning next to an address, by the rule of the finding: the text if the finding
# names a second address, and the text if it does not.
_WORDS = {
    "lookalike_recipient": ("Looks like {}", "Mixed alphabets"),
    "name_says_address": ("Name shows {}", "Name shows another address"),
    "odd_address": ("Misleading characters", "Misleading characters"),
    "reply_elsewhere": ("Replies go elsewhere", "Replies go elsewhere"),
}


@dataclass(frozen=True)
class AddressStatus:
    """What is known of an address, in `words`. `end` is how its last message ended, at
    `last_at`.

    `kind` is "inside" (our own domains), "known", "new", "stopped" (only rejected
    messages were written to it), "refused" (mail to it does not arrive or is not
    wanted) or "unclear" (another may have sent it). The last three are warnings.
    """

    kind: str
    words: str
    first_at: datetime | None = None
    end: str = ""
    last_at: datetime | None = None


@dataclass(frozen=True)
class Letter:
    """One character of a spelled-out address, with its script."""

    letter: str
    script: str
    is_odd: bool


@dataclass
class Address:
    """One address with the name that recipients see beside it.

    `reads_as` is its domain in the other spelling, if there is one: Unicode for
    Punycode, Punycode for Unicode. `alike` compares the address with the known one that
    it looks like. `marks` are warnings as pairs of level and text.
    """

    value: str
    name: str = ""
    id: str = ""
    status: AddressStatus | None = None
    marks: tuple[tuple[str, str], ...] = ()
    spelled: tuple[Letter, ...] = ()
    reads_as: str = ""
    alike: Comparison | None = None


@dataclass
class Field:
    """One address line, by the `code` of its header. It is not `covered` if the
    connection's key cannot read it. `more` is the number of addresses that are not
    shown.
    """

    code: str
    addresses: tuple[Address, ...]
    covered: bool = True
    more: int = 0

    @property
    def label(self) -> str:
        """The name of the line for people."""
        return NAMES[self.code]

    @cached_property
    def number(self) -> int:
        """The number of addresses, shown or not."""
        return len(self.addresses) + self.more

    @cached_property
    def is_crowded(self) -> bool:
        """Whether there are too many addresses for a mark on each new one."""
        return self.number > MAX_MARKED


def address_lines(
    message: Message, content: Content | None, actor: Actor
) -> list[Field]:
    """Return the address lines of a message; lines that are known to be empty are left
    out. Without content, return the From and To lines that are known already.
    """
    if content is not None:
        return lines_of_many([(message, content)], actor)[message.pk]
    sender = (message.sender,) if message.sender else ()
    return [_field("from", sender), _field("to", list(map(str, message.recipients)))]


def lines_of_many(
    contents: Sequence[tuple[Message, Content]], actor: Actor
) -> dict[int, list[Field]]:
    """Return the address lines of many messages by their keys, in two queries per
    connection.
    """
    lines_by_message = {
        message.pk: _lines(message, content) for message, content in contents
    }
    for connection in {message.connection_id for message, _ in contents}:
        keys = [one.pk for one, _ in contents if one.connection_id == connection]
        addresses = {
            key: [one for line in lines_by_message[key] for one in line.addresses]
            for key in keys
        }
        own_domains = set(map(_domain, Mailbox.objects.addresses_in(connection)))
        outside = {
            lowered(one.value)
            for listed in addresses.values()
            for one in listed
            if "@" in one.value and _domain(one.value) not in own_domains
        }
        contacts = contacts_of_actor(
            actor, sorted(outside), connection=connection, besides=keys
        )
        for listed in addresses.values():
            ids: set[str] = set()
            for one in listed:
                if one.status is None:
                    one.status = _status(one.value, contacts, own_domains)
                # An id must be unique on the page, also for an address in both To and
                # Cc.
                if one.id in ids:
                    one.id = ""
                ids.add(one.id)
    return lines_by_message


def _lines(message: Message, content: Content) -> list[Field]:
    whole = content.reply_to or ""
    reply_to = [part.strip() for part in whole[:MAX_REPLY_TO].split(",")]
    if len(whole) > MAX_REPLY_TO or not all("@" in part for part in reply_to):
        # It is not a list of addresses, so it is shown whole.
        reply_to = [whole] if whole else []
    lines: dict[str, Sequence[str]] = {
        "from": (content.sender,) if content.sender else (),
        "reply_to": reply_to,
        "to": content.to,
        "cc": content.cc,
        "bcc": content.bcc,
    }
    findings = message.revision.findings if message.revision else []
    # Level and words by address, for the findings that are about single addresses.
    suspicious: dict[str, list[tuple[str, str]]] = {}
    for finding in map(restored, findings):
        if finding.rule in _WORDS and finding.evidence:
            address, *others = finding.evidence
            with_other, alone = _WORDS[finding.rule]
            words = with_other.format(others[0]) if others else alone
            suspicious.setdefault(lowered(address), []).append((finding.level, words))
    alike = dict(alike_pairs(findings))
    fields = []
    for name, values in lines.items():
        if len(values) > SHOWN:
            # Suspicious addresses come first, so that none of them is left out.
            values = sorted(
                values, key=lambda value: lowered(bare_address(value)) not in suspicious
            )
        field = _field(name, values)
        field.covered = name in content.coverage
        for one in field.addresses:
            key = lowered(one.value)
            one.marks = tuple(suspicious.get(key, ()))
            one.spelled = spell_out(one.value)
            # A Punycode domain in Unicode, or a Unicode domain in Punycode.
            domain = one.value.rpartition("@")[2]
            other = unicode_host(domain)
            if other == domain and not domain.isascii():
                other = in_punycode(domain)
            if other != domain:
                one.reads_as = other
            if key in alike:
                one.alike = compare_names(one.value, alike[key])
            if name == "from":
                one.name = content.sender_name or one.name
                if message.is_inbound and is_unclear(one.value, one.name):
                    one.status = AddressStatus("unclear", "Unclear who sent it")
        if field.addresses or not field.covered:
            fields.append(field)
    return fields


def spell_out(address: str) -> tuple[Letter, ...]:
    """Return the characters of an address one by one, if some belong to another script
    than they seem to. Otherwise return nothing. A long address is cut around the first
    such character.
    """
    local, at, domain = address[:1000].rpartition("@")
    readable = f"{local}{at}{unicode_host(domain)}"
    if readable.isascii():
        return ()
    if not (
        has_mixed_scripts(local)
        or has_mixed_scripts(domain)
        or passes_for_latin(domain)
        or passes_for_latin(local)
    ):
        return ()
    letters = [
        Letter(
            character,
            _script(character),
            character.isalpha() and _script(character) != _SCRIPTS["LATIN"],
        )
        for character in readable
    ]
    if len(letters) <= SPELLED:
        return tuple(letters)
    start = max(
        0,
        next((i for i, character in enumerate(letters) if character.is_odd), 0)
        - SPELLED // 4,
    )
    return tuple(letters[start : start + SPELLED])


def _script(letter: str) -> str:
    if not letter.isalpha():
        return "digit" if letter.isdigit() else ""
    word = unicodedata.name(letter, "UNKNOWN").split(" ")[0].split("-")[0]
    return _SCRIPTS.get(word, word.capitalize())


def _field(code: str, values: Sequence[str]) -> Field:
    """Return a line with its addresses, each split into address and name. A value that
    is no address is kept as it was written.
    """
    addresses = []
    for value in values[:SHOWN]:
        address = bare_address(value)
        key = address_id(address)
        if "@" in address:
            addresses.append(Address(address, shown_name(value), key))
        else:
            addresses.append(Address(value.strip(), id=key))
    return Field(code, tuple(addresses), more=max(0, len(values) - SHOWN))


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower().rstrip(".")


def _status(
    address: str, contacts: Mapping[str, Contact], own_domains: Collection[str]
) -> AddressStatus | None:
    if "@" not in address:
        return None
    if _domain(address) in own_domains:
        return AddressStatus("inside", "Inside")
    contact = contacts.get(lowered(address))
    if contact is None:
        return AddressStatus("new", "New")
    if contact.suppressed == "unsubscribed":
        return AddressStatus("refused", "Unsubscribed")
    if contact.suppressed is not None:
        why = f": {named(contact.suppressed)}" if contact.suppressed else ""
        return AddressStatus("refused", f"Suppressed at MultiMail{why}")
    last_state = "" if contact.is_cut else contact.last_state
    number = f"{contact.left:,}{'+' if contact.is_cut else ''} message{'' if contact.left == 1 else 's'}"
    if contact.left:
        is_bad = last_state in (MessageState.BOUNCED, MessageState.COMPLAINED)
        return AddressStatus(
            "refused" if is_bad else "known",
            number,
            None if contact.is_cut else contact.first_at,
            _ENDS.get(last_state, ""),
            contact.last_at,
        )
    if contact.received:
        wrote = (
            "wrote once"
            if contact.received == 1
            else f"wrote {contact.received:,} times"
        )
        return AddressStatus("known", f"Never written to, {wrote}", contact.first_at)
    if contact.stopped:
        return AddressStatus(
            "stopped",
            f"New: {contact.stopped:,} rejected here before",
            contact.first_at,
        )
    return AddressStatus("new", "New")
