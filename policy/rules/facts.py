"""Reads the rules of the policy and the facts about messages that rules are compared
with.

The rules of a version are parsed once per process, because a version never changes once
it has been active. Facts come from columns of messages and a few small tables, not from
their content, so that a whole page of the queue is cheap. What needs the content is
worked out by `stored_facts` when a revision is stored, and what its files are by
`with_files`, then and when one was read.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Any, Protocol

from django.db.models import F, Func, JSONField

from common.fingerprint import FIELDS, Content
from common.mail_addresses import patterns_for
from mirror.attachments.file_types import claimed_kinds
from mirror.models import AttachedFile, Message
from people.models import Person
from policy.models import AllowEntry, KeyOwner, PolicyVersion
from policy.rules.conditions import (
    RUNS_CODE,
    Amount,
    MessageFacts,
    entries_of,
    words_key,
)
from policy.rules.demand import Requirement, required
from policy.rules.passes import Misfit, Pass, Sending
from policy.rules.rules import Part, PolicyRule, listed, parts_from_json
from rendering import RenderedMessage, named
from risk.sums import Sums
from risk.words import places_of, searched_texts
from upstream.events import read_time


@dataclass(frozen=True)
class Policy:
    """The rules and passes of one version that are on, in their order. If no version is
    active: number 0, and none. `key` is the version's primary key; `signatures` has by
    the id of a pass the keys of the two admins who signed it.
    """

    number: int = 0
    rules: tuple[PolicyRule, ...] = ()
    key: int = 0
    passes: tuple[Pass, ...] = ()
    signatures: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def asked_lists(self) -> frozenset[int]:
        """The allowlists that conditions of its rules name."""
        return frozenset().union(*(rule.when.lists for rule in self.rules))

    @cached_property
    def names_calendars(self) -> bool:
        """Whether a rule names hours of a calendar."""
        return any(one.then.office_hours for one in self.rules)

    @cached_property
    def names_groups(self) -> bool:
        """Whether a rule names a group whose approval it asks for, or who may not
        approve.
        """
        return any(
            one.then.named_groups or one.then.barred_groups for one in self.rules
        )

    @cached_property
    def asks_people(self) -> bool:
        """Whether a rule asks for more, or other, people than any one reviewer."""
        return any(one.then.approvals or one.then.barred_groups for one in self.rules)

    def required(self, facts: MessageFacts) -> Requirement:
        """Return what its rules ask for a message, as `policy.rules.demand.required`
        does.

        The results are cached by facts, because a page of the queue needs them for all
        of its rows.
        """
        return _requirement(self.key, facts)


NO_POLICY = Policy()


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
    version = PolicyVersion.objects.exclude(state=PolicyVersion.State.DRAFT).get(pk=key)
    rules = tuple(
        one for one in parts_from_json(PolicyRule, version.rules) if one.is_on
    )
    passes = tuple(one for one in parts_from_json(Pass, version.passes) if one.is_on)
    return Policy(version.number, rules, key, passes, version.signatures)


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
            signed[one.id] = (one, listed(sorted(admins[key] for key in signers)))
    return signed


@lru_cache(maxsize=4096)
def _requirement(key: int, facts: MessageFacts) -> Requirement:
    policy = policy_of(key)
    return replace(required(policy.rules, facts), version=policy.number)


# The columns of messages that `facts_of` reads.
COLUMNS = (
    "connection",
    "mailbox",
    "direction",
    "sent_by_key",
    "written_to",
    "trigger",
    "try_number",
)


class Examined(Protocol):
    """A row with what the desk worked out about a message: its risk, the names of its
    findings (`rules`), what `stored_facts` returned (`policy_facts`), and whether a cap
    set it apart.
    """

    risk_level: str
    rules: Any
    policy_facts: Any
    is_apart: bool


# By origin, the fields of a trigger that claim it.
CLAIMED = {
    "discord": ("discord_user", "discord_user_id", "discord_interaction_id"),
    "edit": ("countersign_edit",),
}
# How many characters of a file's name are kept.
_MOST_NAME = 60
# How many names of metadata are kept, since facts are cached. What is left out counts as
# not known; a value that was cut is longer than any that a rule can ask for.
_MOST_METADATA = 50


def stored_facts(
    content: Content, sums: Sums, hosts: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the facts that need a message's content, to be stored with it as JSON.

    A fact is None if it is not known. If one sum could not be read, the amounts are not
    known.
    """
    return {
        "amounts": dict(sums.largest)
        if _shows_text(content) and not sums.unread
        else None,
        "unread_sums": list(sums.unread),
        "hosts": None if hosts is None else list(hosts),
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
    amounts = facts["amounts"]
    unread_sums = list(facts["unread_sums"])
    kinds: set[str] = set()
    unknown = []
    for place, claim in enumerate(content.attachments, start=1):
        seen = seen_at.get(place) or {}
        kinds |= claimed_kinds(claim.name, claim.content_type)
        kinds.update(seen.get("kinds", ()))
        hides = any(one.get("means") == "hides" for one in seen.get("flags", ()))
        if revision and (hides or "kinds" not in seen):
            unknown.append(named(claim.name)[:_MOST_NAME])
        sums = Sums(**seen.get("sums", {}))
        unread_sums += sums.unread
        for code, value in sums.largest.items() if amounts is not None else ():
            amounts[code] = max(value, amounts.get(code, "0"), key=Decimal)
    return {
        **facts,
        "amounts": None if unread_sums else amounts,
        "unread_sums": list(dict.fromkeys(unread_sums)),
        "attachments": sorted(kinds) if "attachments" in content.coverage else None,
        "unknown_files": unknown,
    }


def _shows_text(content: Content) -> bool:
    return "markdown" in content.coverage or "html" in content.coverage


def word_sets() -> dict[str, frozenset[str]]:
    """Return by `words_key` the sets of words for which rules of the active version and
    of the draft ask.
    """
    # The draft, too: so its words are known of most messages once it is activated.
    asked = Func(
        F("rules"),
        template="jsonb_path_query_array(%(expressions)s, '$[*].when.words')",
        output_field=JSONField(),
    )
    versions = PolicyVersion.objects.exclude(state=PolicyVersion.State.RETIRED)
    sets = map(frozenset, chain.from_iterable(versions.values_list(asked, flat=True)))
    return {words_key(words): words for words in sets}


def unknown_words(
    facts: dict[str, Any], sets: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """Return those of these sets of words that were not looked for in a message; give
    its stored facts a place for them.
    """
    known = facts.setdefault("words", {})
    return {key: words for key, words in sets.items() if key not in known}


def words_in(
    content: Content, rendered: RenderedMessage, sets: Mapping[str, Collection[str]]
) -> dict[str, dict[str, str]]:
    """Return by the keys of these sets which of their words are in a message, each with
    its place.

    A set is left out, as not known, if none of its words was found in what could be
    read, but not everything could be.
    """
    texts = searched_texts(content, rendered) if sets else []
    is_whole = (
        _shows_text(content)
        and not {"to", "subject", "attachments"}.intersection(content.unseen)
        and all(text.is_whole for text, _ in texts)
    )
    found = {key: places_of(words, texts) for key, words in sets.items()}
    return {key: places for key, places in found.items() if places or is_whole}


def facts_of(
    message: Message,
    examined: Examined,
    *,
    key_owners: Collection[int] = (),
    earlier_keys: Collection[str] = (),
    lists: Collection[int] = (),
    takes_claims: bool = False,
) -> MessageFacts:
    """Return the facts about a message.

    `key_owners` are the owners of its API key, and `lists` the allowlists that name one
    of its recipients; callers give them only if a rule needs them. Only our own gateway
    says which API key sent a message. `earlier_keys` sent what people at the desk edited
    since, with a key of the desk.

    A file that was not read may be anything. With `takes_claims` it is what its name
    and type claim: for what the policy does by itself, which nobody can take back.
    """
    is_inbound = message.direction == "inbound"
    key: str | None = ""
    origins = {"received"}
    if not is_inbound:
        key = None
        if message.connection.is_our_gateway and message.sent_by_key:
            key = f"{message.connection_id}:{message.sent_by_key}"
        # The sender wrote the trigger, so it may be false: "agent" stays possible.
        origins = {"agent"}
        for origin, names in CLAIMED.items():
            if any(message.trigger.get(name) for name in names):
                origins.add(origin)
    # None if the columns were never worked out; then empty columns mean "not known".
    is_examined = message.written_to is not None
    stored = examined.policy_facts if isinstance(examined.policy_facts, dict) else {}
    can_tell_contacts = is_examined and not stored.get("knows_nobody")
    findings = set(examined.rules)
    attachments = _as_set(stored.get("attachments"))
    unknown_files = tuple(map(str, stored.get("unknown_files") or ()))
    if unknown_files and not takes_claims:
        findings.add(RUNS_CODE)
        attachments = None
    words: dict[str, dict[str, str]] = stored.get("words") or {}
    return MessageFacts(
        connection=message.connection_id,
        mailbox=message.mailbox_id,
        is_inbound=is_inbound,
        key=key,
        earlier_keys=frozenset(
            f"{message.connection_id}:{one}" for one in earlier_keys
        ),
        key_owners=None if key is None else frozenset(key_owners),
        recipients=None if message.written_to is None else tuple(message.written_to),
        lists=frozenset(lists),
        is_first_contact="first_contact" in examined.rules
        if can_tell_contacts
        else None,
        risk_level=examined.risk_level if is_examined else None,
        findings=frozenset(findings) if is_examined else None,
        lacked_words=frozenset(key for key, places in words.items() if not places),
        words=dict(chain.from_iterable(places.items() for places in words.values())),
        amounts=amounts_in(stored.get("amounts")),
        unread_sums=tuple(map(str, stored.get("unread_sums") or ())),
        attachments=attachments,
        unknown_files=unknown_files,
        origins=frozenset(origins),
        metadata=frozenset(
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"[:400]
            for name, value in islice(message.trigger.items(), _MOST_METADATA)
        ),
        tries=message.try_number,
    )


def sending_of(
    message: Message,
    examined: Examined,
    lists: Mapping[str, Collection[int]],
    now: datetime,
    *,
    is_followed: bool = False,
) -> Sending:
    """Return what passes ask of a message besides its `MessageFacts`.

    `lists` has the allowlists by entry (`lists_by_entry`). `is_followed` says that a
    message came in its thread after it was written, or that this is not known.
    """
    stored = examined.policy_facts if isinstance(examined.policy_facts, dict) else {}
    on_lists = [
        frozenset[int]().union(*(lists.get(one, ()) for one in patterns_for(recipient)))
        for recipient in message.written_to or ()
    ]
    leaves_at: datetime | None = now
    if stored.get("send_at"):
        leaves_at = read_time(stored["send_at"])
    against = {
        Misfit.CONTENT: not stored.get("is_whole"),
        Misfit.SANDBOX: message.sandbox,
        Misfit.APART: examined.is_apart,
        Misfit.THREAD: is_followed,
    }
    return Sending(
        lists=tuple(on_lists),
        hosts=_as_set(stored.get("hosts")),
        leaves_at=leaves_at and max(leaves_at, now),
        against=frozenset(code for code, holds in against.items() if holds),
    )


def _as_set(stored: object) -> frozenset[str] | None:
    return frozenset(map(str, stored)) if isinstance(stored, list) else None


def amounts_in(stored: object) -> tuple[Amount, ...] | None:
    """Return the sums that `stored_facts` stored; None if they are not known."""
    if not isinstance(stored, dict):
        return None
    try:
        return tuple(
            Amount(Decimal(str(value)), str(currency))
            for currency, value in stored.items()
        )
    except InvalidOperation:
        return None


@dataclass
class Lookups:
    """What the facts of many messages need besides their columns: the owners of API
    keys by (connection, key), and allowlists by entry.
    """

    owners: dict[tuple[int, str], set[int]] = field(default_factory=dict)
    lists: dict[str, set[int]] = field(default_factory=dict)

    def facts(self, message: Message, examined: Examined) -> MessageFacts:
        """Return the facts about a message."""
        lists: set[int] = set()
        if self.lists:
            for one in message.written_to or ():
                lists.update(*(self.lists.get(entry, ()) for entry in entries_of(one)))
        return facts_of(
            message,
            examined,
            key_owners=self.owners.get(
                (message.connection_id, message.sent_by_key), ()
            ),
            lists=lists,
        )

    def sending(self, message: Message, examined: Examined, now: datetime) -> Sending:
        """Return what passes ask of a message besides its facts, without its thread."""
        return sending_of(message, examined, self.lists, now)


def lookups_for(rules: Iterable[Part], now: datetime) -> Lookups:
    """Read what the facts for these rules and passes need, in three queries at most."""
    conditions = [one.when for one in rules]
    lookups = Lookups()
    if any(one.key_owners for one in conditions):
        for connection, key, person in KeyOwner.objects.values_list(
            "connection_id", "upstream_key_id", "person_id"
        ):
            lookups.owners.setdefault((connection, key), set()).add(person)
    if list_keys := set().union(*(one.lists for one in conditions)):
        lookups.lists = lists_by_entry(list_keys, None, now)
    return lookups


def lists_by_entry(
    lists: Collection[int], entries: Collection[str] | None, now: datetime
) -> dict[str, set[int]]:
    """Return the keys of these lists by the entries that they have; of all entries if
    `entries` is None. Expired entries are left out.
    """
    rows = AllowEntry.objects.live(now).filter(allowlist__in=lists)
    if entries is not None:
        rows = rows.filter(pattern__in=entries)
    by_entry: dict[str, set[int]] = {}
    for pattern, key in rows.values_list("pattern", "allowlist_id"):
        by_entry.setdefault(pattern, set()).add(key)
    return by_entry
