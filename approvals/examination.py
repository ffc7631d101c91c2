"""Examines a content when it is stored: findings, queue columns, the version before.

Whoever stores a content passes this module to the mirror, as a `mirror.store.Examiner`.
Each of its functions takes a fixed number of statements, whatever the size of history,
queue or recipients.
"""

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from operator import itemgetter
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Cast, Now

from approvals.caps import set_apart
from approvals.desk_messages import desk_messages, latest_decision
from approvals.models import Decision, OwnWord, Replacement, Review, RuleWeight
from approvals.models.replacements import edit_of
from common.actors import Actor
from common.fingerprint import Content, normalise_address
from common.postgres import take_lock
from common.references import without_references
from common.words import (
    BY,
    CONTENT,
    FROM,
    MAX_TEXT,
    TO,
    vector,
    words_of,
    words_of_address,
)
from mirror.models import Mailbox, Message, Revision
from mirror.recipients import (
    addresses_of,
    already_written_to,
    contacts_of,
    in_compared_form,
    written_to,
)
from mirror.recording import record_about
from mirror.states import Outcome
from mirror.store import parsed_content, stored_content
from policy.allowlists.judgement import judge_content
from policy.rules.facts import stored_facts
from rendering import ParsedContent
from risk import find_risks
from risk.addresses import bare_address, everybody
from risk.findings import HIGH, OwnPhrase, Rejected, RiskContext, score_of, worst_first
from risk.findings import may_have_left as may_have_left_finding
from risk.own_words import read_phrase
from risk.similarity import amounts, shape
from risk.sums import sums_of

log = logging.getLogger(__name__)

# The name of a lock.
WEIGHTS_LOCK = "approvals.weights"
# Lookalikes are searched among contacts of the newest messages; a message's own
# addresses are looked up exactly.
NEWEST = 2000
MOST_CONTACTS = 5000
MOST_ADDRESSES = 1000
# Seconds for which contacts are cached in this process. A message's own recipients are
# always looked up.
KEPT_SECONDS = 300.0
MOST_CONNECTIONS = 100
# How many rejected messages with the same words are looked at.
MOST_SAME = 50

_contacts_by_connection: dict[int, tuple[float, Mapping[str, int]]] = {}


def findings(
    message: Message, content: Content, parsed: ParsedContent, *, may_have_left: bool
) -> list[dict[str, Any]]:
    """Return what is risky about the content, worst first, as it is stored with the
    revision.

    Goes by what the desk knows from earlier mail.
    """
    # In a transaction this blocks changes of own words until it ends;
    # `flush_examinations` says what for.
    take_lock(WEIGHTS_LOCK, shared=True)
    own_words = OwnWord.objects.of_connection(message.connection_id).heaviest_first()
    own = _own_domains(message)
    judged = judge_content(message, content)
    context = RiskContext(
        own_domains=tuple(sorted(own)),
        known_addresses=_known(message.connection_id, _outside(content, own)),
        rejected=_rejected_like(message, content, parsed),
        off_list=[one for one in judged.refused if "@" in one],
        watched=[one for one in judged.would_be_refused if "@" in one],
        own_phrases=own_phrases(own_words, message.mailbox_id),
        text_part=parsed.text_part,
    )
    found = find_risks(content, parsed.shown, context)
    if may_have_left:
        found = worst_first((*found, may_have_left_finding()))
    return [asdict(finding) for finding in found]


def on_finding_added(*, message: Message, revision: Revision, **_: Any) -> None:
    """Update the review of a locked message whose current version got one more finding."""
    if message.revision_id != revision.pk:
        return
    content = stored_content(revision)
    _, columns = columns_of(
        message, content, parsed_content(message, content), revision.findings
    )
    store_review(message, columns, is_new_version=False)


def own_phrases(words: Iterable[OwnWord], mailbox: int | None) -> list[OwnPhrase]:
    """Return the phrases among these that count in a mailbox."""
    return [
        OwnPhrase(read_phrase(word.text), frozenset(word.looks_in), word.points)
        for word in words
        if word.mailbox_id in (None, mailbox)
    ]


def _own_domains(message: Message) -> set[str]:
    addresses = Mailbox.objects.addresses_in(message.connection_id)
    return {address.rpartition("@")[2].lower() for address in addresses}


def _outside(content: Content, own_domains: set[str]) -> list[str]:
    """Return the recipients who have no address at one of these domains."""
    recipients = [address.lower() for address in everybody(content)]
    return [
        address
        for address in recipients
        if address.rpartition("@")[2] not in own_domains
    ]


def flush_examinations() -> None:
    """Wait until every message is stored whose examination began before what was
    committed last.

    Such a message may have been examined with the own words of before; afterwards it is
    there to be judged again.
    """
    with transaction.atomic():
        take_lock(WEIGHTS_LOCK)


def _known(connection: int, addresses: Sequence[str]) -> Mapping[str, int]:
    """Return the recent contacts of a connection with how often each was written to,
    cached in this process; these addresses are looked up exactly.
    """
    at, contacts = _contacts_by_connection.get(connection, (0.0, {}))
    # An empty result is not cached: the first contact must count at once.
    if not contacts or time.monotonic() - at >= KEPT_SECONDS:
        contacts = contacts_of(connection, newest=NEWEST, most=MOST_CONTACTS)
        _contacts_by_connection[connection] = (time.monotonic(), contacts)
        while len(_contacts_by_connection) > MOST_CONNECTIONS:
            # Another thread may have removed it meanwhile.
            _contacts_by_connection.pop(next(iter(_contacts_by_connection)), None)
    unknown = [address for address in addresses if address not in contacts]
    if not contacts or not unknown:
        return contacts
    written = already_written_to(connection, unknown[:MOST_ADDRESSES])
    return {**contacts, **dict.fromkeys(written, 1)}


def _rejected_like(
    message: Message, content: Content, parsed: ParsedContent
) -> Rejected | None:
    """Return a rejected message with the same text: one of the same mailbox first, then
    the newest.

    Test messages are compared only with test messages. A next version that was
    requested matches nothing, whatever else was rejected.
    """
    own_shape = shape(content, parsed)
    if not own_shape or message.answers_id is not None:
        return None
    same = desk_messages().rejected_lately(message).filter(shape=own_shape)
    # What people rejected, here or at MultiMail. Requests for changes and expired
    # messages are left out.
    by_people = []
    for one in same.order_by("-changed_at")[:MOST_SAME]:
        decision = latest_decision(one)
        if decision is None or (
            decision.outcome == Outcome.REJECT and not decision.rule
        ):
            at = decision.changed_at if decision else one.changed_at
            is_here = one.mailbox_id == message.mailbox_id
            by_people.append((is_here, at, one, decision))
    if not by_people:
        return None
    is_here, at, one, decision = max(by_people, key=itemgetter(0, 1))
    by = decision.given_by if decision else None
    reason = decision.reason if decision else one.upstream_reason
    return Rejected(
        public_id=str(one.public_id),
        by=str(by or one.upstream_decided_by),
        at=f"{at:%-d %B %Y, %H:%M} UTC",
        reason=without_references(reason),
        in_same_mailbox=is_here and one.mailbox_id is not None,
    )


# An agent that was asked for changes answers within days, one that names neither thread
# nor trigger within hours.
WINDOW = timedelta(days=7)
SHORT_WINDOW = timedelta(hours=24)
# MultiMail's clock and ours may differ a little.
SLACK = timedelta(seconds=2)
MOST = 50
# What a trigger calls its run and its person.
_RUNS = {"run_id": "run", "runId": "run", "discord_interaction_id": "interaction"}
_PEOPLE = {"discord_user_id": "id", "discord_user": "name"}
_ANSWER = re.compile(r"\A(?:\s*(?:re|aw|fwd?)\s*:)+", re.IGNORECASE)


def version_before(message: Message) -> Message | None:
    """Return the message whose request for changes this one answers, or that it was
    edited from; None for none.

    Of several, one that went to the same people comes first, then the newest.
    """
    if message.mailbox_id is None or message.is_inbound:
        return None
    # Most messages name no edit, and need no query.
    if edit_of(message):
        made = Replacement.objects.that_made([message]).select_related("message")
        if (edit := made.first()) is not None:
            return edit.message
    asked = Decision.objects.sent_back_between(
        message.held_at - WINDOW, message.held_at + SLACK
    )
    asked = asked.filter(
        message__mailbox=message.mailbox_id, message__lt=message.pk
    ).select_related("message")
    newest = asked.order_by("-recorded_at", "-pk")[:MOST]
    found = [one.message for one in newest if _is_next_version(message, one)]
    found.sort(key=lambda one: not _shares_people(message, one))
    return found[0] if found else None


def _is_next_version(message: Message, of: Decision) -> bool:
    """Whether the message comes from the thread or the trigger of the one that was sent
    back.
    """
    earlier = of.message
    if message.thread_id and message.thread_id == earlier.thread_id:
        return True
    mine = message.trigger
    theirs = earlier.trigger
    shares_people = _shares_people(message, earlier)
    is_same_subject = _plain_subject(message) == _plain_subject(earlier)
    if _named(mine, _RUNS) & _named(theirs, _RUNS):
        # A run may write to hundreds of people: its other messages are not next
        # versions of this one.
        return shares_people or is_same_subject
    is_same_person = _named(mine, _PEOPLE) & _named(theirs, _PEOPLE)
    if is_same_person and mine.get("discord_channel") == theirs.get("discord_channel"):
        return shares_people
    if any(_named(one, _RUNS | _PEOPLE) for one in (mine, theirs)):
        return False
    is_soon = message.held_at - of.recorded_at <= SHORT_WINDOW
    is_same_key = message.sent_by_key and message.sent_by_key == earlier.sent_by_key
    return bool(is_soon and is_same_key and shares_people and is_same_subject)


def _named(
    trigger: Mapping[str, Any], names: Mapping[str, str]
) -> set[tuple[str, str]]:
    """Return what a trigger names, whichever of these names it uses for that."""
    return {
        (what, str(trigger[name])) for name, what in names.items() if trigger.get(name)
    }


def _shares_people(message: Message, other: Message) -> bool:
    return bool({*map(_folded, message.recipients)} & {*map(_folded, other.recipients)})


def _folded(address: object) -> str:
    return normalise_address(str(address)).lower()


def _plain_subject(message: Message) -> str:
    return _ANSWER.sub("", message.subject[:1000]).strip().casefold()


def columns_of(
    message: Message,
    content: Content,
    parsed: ParsedContent,
    findings: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns of a message, and those of its review, that follow from its
    content and its findings.

    A message that cannot be sorted must still be readable: after an error it is found
    by no word, high risk, and what the policy asks of it is not known, so that every
    rule applies.
    """
    try:
        found = list(findings)
        sums = sums_of(content, parsed)
        outside = _outside(content, _own_domains(message))
        run = message.trigger.get("run_id") or message.trigger.get("runId") or ""
        named = (*content.to, *content.cc, *content.bcc)
        senders = filter(None, (content.sender, content.reply_to))
        # Sorted, because jsonb does not preserve the order of keys.
        trigger = [
            str(value)
            for _, value in sorted(message.trigger.items())
            if isinstance(value, str | int | float)
        ]
        started = started_by(message)
        parts = (
            *((FROM, words_of_address(bare_address(one))) for one in senders),
            (FROM, words_of(content.sender_name)),
            *((BY, words_of(value[:500])) for value in (started, *trigger[:50])),
            (CONTENT, words_of(content.subject)),
            *((TO, words_of_address(one)) for one in everybody(content)),
            *((TO, words_of(one.rpartition("<")[0])) for one in named),
            *((CONTENT, words_of(one.name)) for one in content.attachments),
            (CONTENT, words_of(text_of(content, parsed.words))),
        )
        recipients = [address.lower() for address in everybody(content)]
        columns: dict[str, Any] = {
            "addresses": addresses_of(
                recipients, sender=content.sender, direction=message.direction
            ),
            "written_to": in_compared_form(written_to(content)),
            # Received mail goes to an agent, whatever its addresses say.
            "outside": 0 if message.is_inbound else len(outside),
            "started_by": started,
            "run_id": str(run)[:200],
            "shape": shape(content, parsed),
            "has_attachments": bool(content.attachments),
            "search": _stored(vector(parts)),
            "amounts": amounts(sums),
        }
        review = risk_facets(found)
        review["policy_facts"] = stored_facts(content, sums, found)
    except Exception:
        log.exception("no facets of a message", extra={"about": str(message.public_id)})
        columns = {"written_to": None, "search": _stored(""), "shape": ""}
        review = {"policy_facts": None, "risk": HIGH, "risk_level": "high"}
    return columns, review


def store_review(
    message: Message, columns: Mapping[str, Any], *, is_new_version: bool
) -> None:
    """Store these columns of a locked message's review."""
    review = Review.objects.get(pk=message.pk)
    # A read that shows nothing else needs no other answer of the policy.
    is_same = not is_new_version and all(
        getattr(review, name) == value for name, value in columns.items()
    )
    for name, value in columns.items():
        setattr(review, name, value)
    if not is_same:
        review.policy_applied = 0
    # Another content may have another risk, and so other deadlines.
    review.watch_at = Now()
    review.save(update_fields=[*columns, "policy_applied", "watch_at"])
    message.review = review


def count(message: Message, actor: Actor) -> None:
    """Count a message that was read for the first time and waits; past a cap it is set
    apart.
    """
    key = message.sent_by_key
    key_name = message.sent_by_key_name
    if set_apart(message, key=key, key_name=key_name, actor=actor):
        details = {"brake": str(message.review.brake_id)}
        record_about("message.set_apart", message, actor=actor, details=details)


def risk_facets(findings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the queue sorts by: points, level, and the rules with findings."""
    found = list(findings)
    weights: dict[str, int] = {}
    if found:
        # In a transaction this blocks changes of weights until it ends, so that what is
        # stored with these points is seen when held messages are weighed again.
        take_lock(WEIGHTS_LOCK, shared=True)
        weights = RuleWeight.objects.points_by_rule()
    total = score_of(found, weights)
    names = dict.fromkeys(str(one.get("rule", ""))[:40] for one in found)
    return {
        "risk": total.points,
        "risk_level": total.level,
        "rules": list(filter(None, names)),
    }


def started_by(message: Message) -> str:
    """Return who or what started a message in one spelling: "discord:dana",
    "key:Invoices", or nothing.
    """
    if message.is_inbound:
        return ""
    user = message.trigger.get("discord_user") or message.trigger.get("discord_user_id")
    if user:
        return f"discord:{user}"[:200]
    key = message.sent_by_key_name or message.sent_by_key
    return f"key:{key}"[:200] if key else ""


def _stored(words: str) -> Cast:
    return Cast(Value(words), SearchVectorField())


def text_of(content: Content, html_text: str) -> str:
    """Return what a message says, in all of its parts, without markup."""
    parts = [content.markdown or "", *([html_text] if content.html is not None else [])]
    return "\n".join(part[:MAX_TEXT] for part in parts)
