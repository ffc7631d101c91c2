"""Reads the rules of the policy and the facts about messages that rules are compared
with.

The rules of a version are parsed once per process, because a version never changes once
it has been active. Facts come from columns of messages and a few small tables, not from
their content, so that a whole page of the queue is cheap. What needs the content is
worked out by `stored_facts` when a revision is stored, and what its files are by
`with_files`, then and when one was read.

Also reads the names of what rules refer to by key (mailboxes, groups, lists and so on),
for sentences about rules and for the choices of the rule editor; and which mailboxes and
API keys there are when a rule is saved.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import chain, islice, product
from typing import Any, TypeVar

from django.db.models import Max
from django.db.models.functions import Lower, Now
from django.utils.text import get_text_list

from common.actors import Actor, Role, Scope
from common.fingerprint import FIELDS, Content
from common.mail_addresses import patterns_for
from mirror.attachments.file_types import claimed_kinds
from mirror.models import AttachedFile, Connection, KnownContact, Mailbox, Message
from people.models import Person
from policy.errors import RuleError
from policy.models import (
    ENDLESS,
    AllowEntry,
    Allowlist,
    Group,
    KeyOwner,
    PolicyVersion,
    WorkCalendar,
)
from policy.rules.conditions import (
    FILES,
    FINDINGS,
    RUNS_CODE,
    MessageFacts,
    Names,
    entries_of,
)
from policy.rules.demand import NO_POLICY, Policy, required
from policy.rules.rules import Misfit, Part, Pass, PolicyRule, parts_from_json
from rendering import RenderedMessage, named
from risk.sums import Sums
from risk.words import places_of, searched_texts
from upstream.events import read_time

Known = TypeVar("Known")


def active_policy() -> Policy:
    """Return the active version, or `NO_POLICY` if none is active."""
    key = PolicyVersion.objects.active().values_list("pk", flat=True).first()
    return policy_of(key) if key is not None else NO_POLICY


@lru_cache(maxsize=16)
def policy_of(key: int) -> Policy:
    """Return a version that is or was active, by its primary key. Raises RuleError if
    its rules cannot be read.

    Callers that decide must not catch this error: while the policy cannot be read, no
    message may be sent.
    """
    return read_policy(PolicyVersion.objects.get(pk=key))


def read_policy(version: PolicyVersion) -> Policy:
    """Return a version as values. Raises RuleError if its rules cannot be read."""
    rules = parts_from_json(PolicyRule, version.rules)
    passes = parts_from_json(Pass, version.passes)
    return Policy(version.number, rules, passes, version.signatures)


def signed_passes(
    policy: Policy, now: datetime | None = None
) -> dict[str, tuple[Pass, str]]:
    """Return by their ids the passes that count, each with the names of the two admins
    who signed it: both are still admins of everything, and it has not ended, unless
    `now` is None.
    """
    if not policy.passes:
        return {}
    admins = {one.pk: str(one) for one in Person.objects.admins_of_all()}
    signed = {}
    for one in policy.passes:
        signers = set(policy.signatures.get(one.id, ())) & admins.keys()
        if len(signers) == 2 and (now is None or now < one.ends_at):
            names = sorted(admins[key] for key in signers)
            signed[one.id] = (one, get_text_list(names, "and"))
    return signed


# The columns of messages that `facts_of` reads.
COLUMNS = (
    "connection mailbox direction sent_by_key written_to trigger try_number".split()
)


# The fields of a trigger by which its sender claims a person: who gave a Discord command,
# or edited it at the desk.
_CLAIMS = "discord_user discord_user_id discord_interaction_id countersign_edit".split()
# How many characters of a file's name are kept.
_MOST_NAME = 60
# How many names of metadata are kept, since facts are cached. What is left out counts as
# not known; a value that was cut is longer than any that a rule can ask for.
_MOST_METADATA = 50
# The facts that are known in part where the desk cannot see a whole message.
_IN_PART = ["findings", "is_first_contact", "risk_level"]


def stored_facts(
    content: Content,
    sums: Sums,
    hosts: Sequence[str] | None = None,
    *,
    has_pictures: bool = False,
) -> dict[str, Any]:
    """Return the facts that need a message's content, to be stored with it as JSON.

    A fact is None if it is not known. If one sum could not be read, the amounts are not
    known.
    """
    return {
        "amounts": sums.largest if _shows_text(content) and not sums.unread else None,
        "sums": sums.passages,
        "unread_sums": sums.unread,
        "hosts": hosts if _shows_text(content) else None,
        "in_part": _IN_PART if _hides(content) else [],
        "has_pictures": has_pictures,
        "send_at": content.send_at,
        "is_whole": set(content.coverage) >= set(FIELDS),
    }


def with_files(
    facts: Mapping[str, Any], content: Content, revision: int | None
) -> dict[str, Any]:
    """Return stored facts with those about the attached files: what they may be by
    name, declared type and bytes, which of them are not known, and the sums in them.

    `revision` is the key of the content's version. If it is None, names and types are
    all that there is.
    """
    seen_at = {}
    if revision and content.attachments:
        files = AttachedFile.objects.filter(revision=revision)
        seen_at = dict(files.values_list("place", "seen"))
    amounts = dict(facts["amounts"] or {})
    passages = dict(facts["sums"])
    unread_sums = list(facts["unread_sums"])
    hosts: list[str] | None = [] if "attachments" in content.coverage else None
    # A picture within the text is shown like an attached one.
    kinds = {"image"} if facts.get("has_pictures") else set[str]()
    unknown = []
    has_unread = False
    for place, claim in enumerate(content.attachments, start=1):
        seen = seen_at.get(place) or {}
        claimed = claimed_kinds(claim.name, claim.content_type)
        kinds.update(claimed, seen.get("kinds", ()))
        hides = any(one.get("means") == "hides" for one in seen.get("flags", ()))
        if revision and (hides or "kinds" not in seen):
            unknown.append(named(claim.name)[:_MOST_NAME])
        has_unread |= bool(revision) and "kinds" not in seen
        sums = Sums(**seen.get("sums", {}))
        unread_sums += sums.unread
        for code, value in sums.largest.items():
            if Decimal(value) >= Decimal(amounts.get(code, 0)):
                amounts[code] = value
                passages[code] = sums.passages[code]
        if hosts is not None:
            is_unread = "calendar" in claimed and bool(revision) and not seen
            hosts = None if is_unread else [*hosts, *seen.get("hosts", ())]
    return {
        **facts,
        "file_hosts": hosts,
        "amounts": None if unread_sums or facts["amounts"] is None else amounts,
        "sums": passages,
        "unread_sums": list(dict.fromkeys(unread_sums)),
        "attachments": sorted(kinds) if "attachments" in content.coverage else None,
        "unknown_files": unknown,
        "has_unread_files": has_unread,
    }


def _shows_text(content: Content) -> bool:
    return "markdown" in content.coverage or "html" in content.coverage


def _hides(content: Content) -> bool:
    """Whether the desk cannot see a field in which it finds something."""
    searched = {"to", "cc", "bcc", "subject", "attachments"}
    return not (_shows_text(content) and searched <= {*content.coverage})


def asked_words() -> set[str]:
    """Return the words for which rules of the active version and of the draft ask."""
    # The draft, too: so its words are known of most messages once it is activated.
    versions = PolicyVersion.objects.exclude(state="retired")
    rules = chain.from_iterable(versions.values_list("rules", flat=True))
    return {word for one in rules for word in one.get("when", {}).get("words", ())}


def unknown_words(facts: dict[str, Any], words: Collection[str]) -> set[str]:
    """Return those of these words that were not looked for in a message; give its
    stored facts a place for them.
    """
    return {*words}.difference(facts.setdefault("words", {}))


def words_in(
    content: Content, rendered: RenderedMessage, words: Collection[str]
) -> dict[str, str]:
    """Return the place of each of these words in a message, empty if it is not there.

    A word is left out, as not known, if it is not in what could be read, but not
    everything could be.
    """
    texts = searched_texts(content, rendered) if words else []
    is_whole = (
        _shows_text(content)
        and not {"to", "subject", "attachments"}.intersection(content.unseen)
        and all(text.is_whole for text, _ in texts)
    )
    absent = dict.fromkeys(words, "") if is_whole else {}
    return absent | places_of(words, texts)


def facts_of(
    message: Message,
    lookups: "Lookups",
    *,
    earlier_keys: Collection[str] = (),
    is_edited: bool = False,
    takes_claims: bool = False,
) -> MessageFacts:
    """Return the facts about a message, of which its review has what the desk worked
    out, and `lookups` what tables say of its recipients.

    Only our own gateway says which API key sent a message. `earlier_keys` sent what
    people at the desk edited since, with a key of the desk.

    A file that was not read may be anything. With `takes_claims` it is what its name
    and type claim: for what the policy does by itself, which nobody can take back.
    """
    is_inbound = message.direction == "inbound"
    key: str | None = ""
    if not is_inbound:
        key = None
        if message.connection.is_our_gateway and message.sent_by_key:
            key = f"{message.connection_id}:{message.sent_by_key}"
    # None if the columns were never worked out; then empty columns mean "not known".
    recipients = message.written_to
    is_examined = recipients is not None
    review = message.review
    stored = review.policy_facts or {}
    findings = {*review.rules}
    # Those of its text, and those of its files.
    hosts: list[Any] = [stored.get("hosts"), stored.get("file_hosts", ())]
    attachments = _if_known(frozenset, stored.get("attachments"))
    unknown_files = tuple(stored.get("unknown_files", ()))
    in_part = {*stored.get("in_part", ())}
    if unknown_files and not takes_claims:
        findings.add(RUNS_CODE)
        attachments = None
    if stored.get("has_unread_files") and not takes_claims:
        findings.add("risky_attachment")
        in_part.add("risk_level")
    if "program_in_text" in findings:
        findings.add(RUNS_CODE)
        attachments = None if attachments is None else attachments | {"program"}
    return MessageFacts(
        connection=message.connection_id,
        mailbox=message.mailbox_id,
        is_inbound=is_inbound,
        key=key,
        earlier_keys=frozenset(
            f"{message.connection_id}:{one}" for one in earlier_keys
        ),
        recipients=_if_known(tuple, recipients),
        lists=lookups.listing(
            entry for one in recipients or () if "@" in one for entry in entries_of(one)
        ),
        lists_of=tuple(lookups.listing(patterns_for(one)) for one in recipients or ()),
        contacts=lookups.contacts_of(message),
        is_first_contact="first_contact" in findings
        if is_examined and not stored.get("knows_nobody")
        else None,
        risk_level=review.risk_level if is_examined else None,
        findings=frozenset(findings) if is_examined else None,
        in_part=frozenset(in_part),
        words=dict(stored.get("words", ())),
        amounts=_if_known(dict, stored.get("amounts")),
        sums=stored.get("sums", {}),
        unread_sums=tuple(stored.get("unread_sums", ())),
        attachments=attachments,
        unknown_files=unknown_files,
        hosts=None if None in hosts else frozenset(chain(*hosts)),
        is_agents_alone=not (is_inbound or any(map(message.trigger.get, _CLAIMS))),
        is_edited=is_edited,
        metadata=frozenset(
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"[:400]
            for name, value in islice(message.trigger.items(), _MOST_METADATA)
        ),
        tries=message.try_number,
    )


def leaving_of(
    message: Message, now: datetime, *, is_followed: bool = False
) -> tuple[datetime | None, list[Misfit]]:
    """Return what passes ask of a message besides its `MessageFacts`: when it would
    leave, and what keeps any pass from sending it. `is_followed` says that a message
    came in its thread after it was written, or that this is not known.
    """
    stored = message.review.policy_facts or {}
    leaves_at = read_time(stored["send_at"]) if stored.get("send_at") else now
    against = {
        Misfit.CONTENT: not stored.get("is_whole"),
        Misfit.SANDBOX: message.sandbox,
        Misfit.APART: message.review.is_apart,
        Misfit.THREAD: is_followed,
    }
    return leaves_at and max(leaves_at, now), [
        code for code, holds in against.items() if holds
    ]


def _if_known(kind: Callable[[Any], Known], stored: Any) -> Known | None:
    return None if stored is None else kind(stored)


@dataclass(frozen=True)
class Lookups:
    """What tables say of the recipients of many messages: by entry until when each
    allowlist has it, and contacts by connection, without the connections whose contacts
    could not be read.
    """

    lists: Mapping[str, Mapping[int, datetime]]
    contacts: Mapping[int, Collection[str]] | None

    def listing(self, entries: Iterable[str]) -> frozenset[int]:
        """Return the allowlists that have one of these entries."""
        return frozenset().union(*(self.lists.get(one, ()) for one in entries))

    def contacts_of(self, message: Message) -> frozenset[str] | None:
        """Return those recipients of a message who are contacts of its account."""
        if self.contacts is None:
            return frozenset()
        known = self.contacts.get(message.connection_id)
        if known is None:
            return None
        recipients = message.written_to or ()
        # `patterns_for` has nothing for an address that names a server to forward to:
        # no contact lets it through.
        return frozenset(
            one for one in recipients if one in known and patterns_for(one)
        )


def lookups_for(
    parts: Collection[Part], now: datetime, messages: Collection[Message]
) -> Lookups:
    """Read what the facts about these messages need for these rules and passes, in three
    queries at most.
    """
    addresses = {
        one for message in messages for one in message.written_to or () if "@" in one
    }
    lists: dict[str, dict[int, datetime]] = defaultdict(dict)
    named = frozenset[int]().union(*(one.named()["lists"] for one in parts))
    entries = set[str]().union(*map(entries_of, addresses))
    for entry in AllowEntry.objects.live(now).filter(
        allowlist__in=named, pattern__in=entries
    ):
        lists[entry.pattern][entry.allowlist_id] = entry.expires_at or ENDLESS
    contacts = None
    if any(isinstance(one, PolicyRule) and one.when.contacts_count for one in parts):
        connections = {one.connection_id for one in messages}
        contacts = contacts_among(connections, addresses)
    return Lookups(lists, contacts)


def listed_until(policy: Policy, message: Message, now: datetime) -> datetime | None:
    """Return until when each recipient of a message that is on the allowlists of a rule
    or pass now is still on them; None if that does not end.
    """
    lookups = lookups_for(policy.parts, now, [message])
    named = [one.when.lists_except for one in policy.rules]
    named += [one.lists for one in policy.passes]
    until = [ENDLESS]
    for lists, recipient in product(named, message.written_to or ()):
        entries = [lookups.lists.get(one, {}) for one in patterns_for(recipient)]
        ends = [at for entry in entries for key, at in entry.items() if key in lists]
        until.append(max(ends, default=ENDLESS))
    end = min(until)
    return None if end == ENDLESS else end


# Contacts of an account that were read longer ago than this do not count.
CONTACTS_LAST = timedelta(days=1)


def contacts_among(
    connections: Collection[int], addresses: Collection[str]
) -> dict[int, set[str]]:
    """Return by connection which of `addresses` are its contacts. Connections whose
    contacts were not read lately (CONTACTS_LAST) are left out.
    """
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
    keys = sorted(api_keys(actor).items(), key=lambda pair: pair[1].casefold())
    mailboxes = Mailbox.objects.visible_to(actor).at_work()
    rows: dict[str, Mapping[Any, object]] = {
        "keys": dict(keys),
        "attachments": FILES,
        "findings": FINDINGS,
        "mailboxes": mailboxes.order_by("address").in_bulk(),
        "lists": Allowlist.objects.visible_to(actor).order_by(Lower("name")).in_bulk(),
        "groups": Group.objects.in_bulk(),
        "calendars": WorkCalendar.objects.in_bulk(),
        "connections": Connection.objects.visible_to(actor).at_work().in_bulk(),
    }
    return Names(rows, is_whole=actor.sees_all())


def api_keys(actor: Actor) -> dict[str, str]:
    """Return the names of API keys, by "connection:key": keys of visible connections
    that have an owner, or whose messages changed in the last 30 days.

    Keys of hosted MultiMail without an owner are missing: only our own gateway says
    which key sent a message. The query uses the index message_changed.
    """
    connections = Connection.objects.visible_to(actor).at_work()
    names = dict(connections.values_list("pk", "name"))
    owned = KeyOwner.objects.filter(connection__in=names)
    keys = dict.fromkeys(owned.values_list("connection_id", "upstream_key_id"), "")
    sent = Message.objects.filter(
        changed_at__gte=Now() - _KEYS_SEEN, connection__in=names
    ).exclude(sent_by_key="")
    by_key = sent.order_by().values_list("connection_id", "sent_by_key")
    for connection, key, name in by_key.annotate(name=Max("sent_by_key_name")):
        keys[connection, key] = name
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
    there = {*boxes, *when.keys, *api_keys(EVERYTHING)}
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
        rules = required(active_policy(), MessageFacts(**facts))
    except RuleError:
        return "The rules of the policy could not be read, so nothing can be approved."
    names = names_for(actor)
    needs = [f"{one.name}: {one.sentence(names)}" for one in rules]
    return "\n".join(needs or ["One approval of any reviewer."])
