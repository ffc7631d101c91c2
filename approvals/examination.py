"""Examines the content of a message when it is stored: what is risky about it
(findings), the columns by which the queue sorts, searches and groups messages, and
which earlier message it is a new version of.

`held_rows` calls these functions when it stores a content. Each runs a fixed number of
SQL statements, however long the history, the queue or the list of recipients is.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from operator import itemgetter
from typing import Any

from django.core.cache import caches
from django.db.models.functions import Now

from approvals.authorship import (
    folded_addresses,
    passages_in,
    passages_of,
    passages_of_revision,
    recipients_and_links,
    writers_of,
)
from approvals.caps import set_apart
from approvals.desk_messages import desk_messages, latest_decision
from approvals.models import Decision, Replacement, Review
from approvals.models.replacements import edit_of
from common.actors import Actor
from common.ascii import lowered
from common.endings import EndedBy
from common.fingerprint import Content
from common.mail_addresses import domain_of
from common.references import without_references
from common.words import (
    CONTENT,
    FROM,
    MAX_TEXT,
    TO,
    pairs_of,
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
from mirror.store import rendered_content, search_words, stored_content
from policy.rules.facts import (
    asked_words,
    stored_facts,
    unknown_words,
    with_files,
    words_in,
)
from risk import CHECKS
from risk.addresses import bare_address, everybody
from risk.examined import Examined
from risk.findings import (
    Finding,
    RiskContext,
    finding,
    level_of,
    restored,
    run_checks,
    worst_first,
)
from risk.lookalikes import PROVIDERS

log = logging.getLogger(__name__)

# Lookalikes are searched among the recent contacts: how many of the newest messages,
# and how many contacts, are read for that.
NEWEST = 2000
MOST_CONTACTS = 5000
# How many recipients of a message, if they are no recent contacts, are looked up among
# all contacts.
MOST_ADDRESSES = 1000
# For how many seconds contacts are cached in this process.
KEPT_SECONDS = 300
# How many rejected messages with the same text are read.
MOST_SAME = 50


def findings(
    message: Message, content: Content, examined: Examined
) -> list[dict[str, Any]]:
    """Return the findings about a content, worst first, as JSON to be stored with the
    revision: what the parser found in it, and how it compares with what the desk knows.
    """
    own_domains = _own_domains(message)
    context = RiskContext(
        own_domains=frozenset(own_domains),
        known_addresses=_known_contacts(
            message.connection_id, _outside_recipients(content, own_domains)
        ),
    )
    found = (
        *examined.findings,
        *run_checks(CHECKS, content, examined.shown, context),
        *_rejected_before(message, examined.shape),
    )
    return [asdict(one) for one in worst_first(found)]


def on_more_known(*, message: Message, revision: Revision, **_: Any) -> None:
    """Update the review of a locked message, of whose current version more findings or
    what its files are is known now.
    """
    if message.revision_id != revision.pk:
        return
    columns = risk_facets(revision.findings)
    if facts := Review.objects.get(pk=message.pk).policy_facts:
        columns["policy_facts"] = with_files(
            facts, stored_content(revision), revision.pk
        )
    store_review(message, columns, is_new_version=False)


def _own_domains(message: Message) -> set[str]:
    # The domains of all mailboxes of its connection, other than those where anybody can
    # have an address.
    addresses = Mailbox.objects.addresses_in(message.connection_id)
    domains = map(domain_of, addresses)
    return {one.lower().rstrip(".") for one in domains} - PROVIDERS


def _outside_recipients(content: Content, own_domains: set[str]) -> list[str]:
    """Return the recipients whose address is not at one of these domains."""
    return [
        address
        for address in map(lowered, everybody(content))
        if domain_of(address) not in own_domains
    ]


def _known_contacts(connection: int, addresses: Sequence[str]) -> Mapping[str, int]:
    """Return the recent contacts of a connection, by address how often each was written
    to; cached in this process. Of the given addresses also older contacts are included.
    """
    key = f"contacts:{connection}"
    contacts: Mapping[str, int] | None = caches["process"].get(key)
    # An empty result does not count: the first contact must count at once.
    if not contacts:
        contacts = contacts_of(connection, newest=NEWEST, most=MOST_CONTACTS)
        caches["process"].set(key, contacts, KEPT_SECONDS)
    unknown = [address for address in addresses if address not in contacts]
    if not contacts or not unknown:
        return contacts
    written = already_written_to(connection, unknown[:MOST_ADDRESSES])
    return {**contacts, **dict.fromkeys(written, 1)}


def _rejected_before(message: Message, shape: str) -> list[Finding]:
    """Return the finding that a message with the same text was rejected lately: the
    newest of the same mailbox, else of another mailbox; an empty list if there is none.

    By whom and why is only said if it was in the same mailbox, so that the reader may
    know. Test messages are compared only with test messages. A message that is the new
    version of another one is not compared.
    """
    if not shape or message.answers_id is not None:
        return []
    same_text = desk_messages().rejected_lately(message).filter(shape=shape)
    # Those that people rejected, here or at MultiMail. Messages that were sent back for
    # changes or rejected by a rule, as expired ones are, are left out.
    by_people = []
    for rejected in same_text.order_by("-changed_at")[:MOST_SAME]:
        decision = latest_decision(rejected)
        if decision is None:
            is_by_person = rejected.upstream_ended_by not in (
                EndedBy.RULE,
                EndedBy.EXPIRY,
            )
        else:
            is_by_person = decision.outcome == Outcome.REJECT and not decision.rule
        if is_by_person:
            rejected_at = decision.changed_at if decision else rejected.changed_at
            is_here = rejected.mailbox_id == message.mailbox_id
            by_people.append((is_here, rejected_at, rejected, decision))
    if not by_people:
        return []
    is_here, rejected_at, rejected, decision = max(by_people, key=itemgetter(0, 1))
    where = " in another mailbox"
    why = ""
    evidence = []
    if is_here and rejected.mailbox_id is not None:
        by = decision.given_by if decision else None
        who = str(by or rejected.upstream_decided_by)
        where = f" by {who}" if who else ""
        reason = decision.reason if decision else rejected.upstream_reason
        words = without_references(reason)
        why = f"“{words[:200]}”" if words else "No reason was given."
        evidence = [str(rejected.public_id)]
    at = f"{rejected_at:%-d %B %Y, %H:%M} UTC"
    sentence = f"A message with the same text was rejected{where} on {at}."
    return [finding("rejected_before", sentence, why, evidence)]


# How long after a request for changes a message can be its new version; the short one
# counts where neither a thread nor the trigger tells.
WINDOW = timedelta(days=7)
SHORT_WINDOW = timedelta(hours=24)
# MultiMail's clock and ours may differ a little.
SLACK = timedelta(seconds=2)
# How many requests for changes are read, the newest first; and of how many the words
# are compared, which takes half a second for two of the longest texts.
MOST = 50
MOST_COMPARED = 10
# The keys under which a trigger names its run, and its person, with what each key
# holds.
_RUNS = {"run_id": "run", "runId": "run", "discord_interaction_id": "interaction"}
_PEOPLE = {"discord_user_id": "id", "discord_user": "name"}
# "Re:", "Aw:" and "Fwd:" at the beginning of a subject.
_REPLY_PREFIX = re.compile(r"\A(?:\s*(?:re|aw|fwd?)\s*:)+", re.IGNORECASE)


def version_before(
    message: Message, content: Content, examined: Examined
) -> Message | None:
    """Return the earlier message of which this one, with this content, is a new
    version: a person edited the earlier one, or sent it back for changes, so that its
    agent wrote again. None if there is none.

    If several fit, the one with the highest number of tries is taken, so that no other
    request for changes makes it a lower try; then one with a recipient in common, then
    the newest.
    """
    if message.mailbox_id is None or message.is_inbound:
        return None
    edit = None
    # Most messages name no edit, and need no query.
    if edit_of(message):
        edits = Replacement.objects.that_made([message]).select_related("message")
        edit = edits.first()
        if edit is not None and edit.upstream_id:
            return edit.message
    requests = Decision.objects.sent_back_between(
        message.held_at - WINDOW, message.held_at + SLACK
    )
    requests = requests.filter(
        message__connection=message.connection_id, message__lt=message.pk
    ).select_related("message")
    newest = list(requests.order_by("-recorded_at", "-pk")[:MOST])
    own_domains = _own_domains(message) if newest else set()
    near = [
        one
        for one in newest
        if _shares_people(message, content, one.message, own_domains)
    ]
    soon = [one for one in near if _is_soon(message, one)]
    same = _with_same_words(content, examined, soon[:MOST_COMPARED])
    answered = [
        one for one in newest if one in same or _is_next_version(message, one, near)
    ]
    answered.sort(key=lambda one: one not in near)
    # The sender wrote which edit it is, so this alone proves nothing.
    claimed = [edit.message] if edit else []
    earlier = [*claimed, *(one.message for one in answered)]
    return max(earlier, key=lambda one: one.try_number or 1, default=None)


def _shares_people(
    message: Message, content: Content, earlier: Message, own_domains: set[str]
) -> bool:
    """Whether a message with this content goes to somebody to whom an earlier one went.
    Colleagues who get a copy of both do not count: they may get one of every message.
    """
    both = folded_addresses(content.recipients) & folded_addresses(earlier.addresses)
    named = folded_addresses(map(str, (*message.recipients, *earlier.recipients)))
    return any(one in named or domain_of(one) not in own_domains for one in both)


def _is_soon(message: Message, request: Decision) -> bool:
    return message.held_at - request.recorded_at <= SHORT_WINDOW


def _with_same_words(
    content: Content, examined: Examined, requests: Sequence[Decision]
) -> list[Decision]:
    """Return those of these requests for changes of which a content has six words in a
    row of what was sent back, or the whole of a shorter text. In doubt it has.
    """
    if not requests:
        return []
    words = passages_in(content, examined.words, is_unsafe=examined.is_unsafe, least=1)
    before = Revision.objects.in_bulk([one.revision_id for one in requests])

    def has_same_words(request: Decision) -> bool:
        sent_back = passages_of_revision(before[request.revision_id], least=1)
        if words is None or sent_back is None:
            return True
        return not words.isdisjoint(sent_back)

    return list(filter(has_same_words, requests))


def _is_next_version(
    message: Message, request: Decision, near: Collection[Decision]
) -> bool:
    """Whether a message seems to answer a request for changes: it has the thread of the
    message that was sent back, or its subject, run or person, as far as each is known.
    `near` are the requests about messages to the same people.
    """
    earlier = request.message
    if message.thread_id and message.thread_id == earlier.thread_id:
        return True
    trigger = message.trigger
    earlier_trigger = earlier.trigger
    shares_people = request in near
    is_same_subject = _plain_subject(message) == _plain_subject(earlier)
    # Asked before the trigger, which the sender writes: another run is no way out of a
    # rule on tries. Nor is another key.
    if shares_people and is_same_subject and _is_soon(message, request):
        return True
    if _identifiers(trigger, _RUNS) & _identifiers(earlier_trigger, _RUNS):
        # A run may write to hundreds of people: its other messages are not next
        # versions of this one.
        return shares_people or is_same_subject
    is_same_person = _identifiers(trigger, _PEOPLE) & _identifiers(
        earlier_trigger, _PEOPLE
    )
    is_same_channel = trigger.get("discord_channel") == earlier_trigger.get(
        "discord_channel"
    )
    return bool(is_same_person and is_same_channel and shares_people)


def _identifiers(
    trigger: Mapping[str, Any], names: Mapping[str, str]
) -> set[tuple[str, str]]:
    """Return pairs of kind and value for what a trigger names; `names` gives the kind
    of each key. Different keys of one kind are alike.
    """
    return {
        (kind, str(trigger[key])) for key, kind in names.items() if trigger.get(key)
    }


def _plain_subject(message: Message) -> str:
    return _REPLY_PREFIX.sub("", message.subject[:1000]).strip().casefold()


def columns_of(
    message: Message,
    content: Content,
    examined: Examined,
    findings: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two dicts of values to store: the columns of a message, and those of its
    review, that follow from its content and its findings.

    A message for which this fails must still be readable. It then counts as high risk,
    searches find it by its names only, and all rules of the policy apply to it, since
    the facts that they ask about are not known.
    """
    try:
        outside = _outside_recipients(content, _own_domains(message))
        run = message.trigger.get("run_id") or message.trigger.get("runId") or ""
        senders = filter(None, (content.sender, content.reply_to))
        searched_parts = (
            *((FROM, words_of_address(bare_address(one))) for one in senders),
            (FROM, _searched(content.sender_name)),
            (CONTENT, _searched(content.subject)),
            *((TO, words_of_address(one)) for one in everybody(content)),
            *((TO, _searched(one.rpartition("<")[0])) for one in content.recipients),
            *((CONTENT, _searched(one.name)) for one in content.attachments),
            (CONTENT, _searched(text_of(content, examined.words))),
        )
        recipients = list(map(lowered, everybody(content)))
        columns = {
            "addresses": addresses_of(
                recipients, sender=content.sender, direction=message.direction
            ),
            "written_to": in_compared_form(written_to(content)),
            # Received mail goes to an agent, whatever its addresses say.
            "outside": 0 if message.is_inbound else len(outside),
            "started_by": started_by(message),
            "run_id": str(run)[:200],
            "shape": examined.shape,
            "has_attachments": bool(content.attachments),
            "search": search_words(message, searched_parts),
            "amounts": examined.amounts,
        }
        review = risk_facets(findings)
        facts = stored_facts(
            content,
            examined.sums,
            examined.hosts,
            has_pictures=examined.has_pictures,
        )
        facts = with_files(facts, content, message.revision_id)
        facts["words"] = words_in(content, examined.shown, asked_words())
        contacts = _known_contacts(message.connection_id, outside)
        # Then nobody can tell a first contact: there is no finding.
        facts["knows_nobody"] = bool(outside) and not contacts
        review["policy_facts"] = facts
        passages = passages_in(content, examined.words, is_unsafe=examined.is_unsafe)
        if passages is not None:
            # Markup may stand within a word that people read as one.
            passages |= passages_of([examined.shown.plain])
            # Only those whom nobody has written to: a known customer is nobody's.
            new = [one for one in outside if one not in contacts]
            passages |= recipients_and_links(new, examined.links)
        review["written_by"] = writers_of(passages)
        if examined.is_unsafe:
            # What it says was not examined, so every rule of the policy applies.
            columns["written_to"] = None
            review["policy_facts"] = None
    except Exception:
        log.exception("no facets of a message", extra={"about": str(message.public_id)})
        columns = {"written_to": None, "shape": ""}
        review = {"policy_facts": None, "risk_level": "high"}
        review["written_by"] = writers_of(None)
    return columns, review


def store_review(
    message: Message, columns: Mapping[str, Any], *, is_new_version: bool
) -> None:
    """Store these columns of a locked message's review. If anything changed, have the
    policy asked about it again.
    """
    review = Review.objects.get(pk=message.pk)
    # If nothing changed, the policy need not be asked again.
    is_same = not is_new_version and all(
        getattr(review, name) == value for name, value in columns.items()
    )
    for name, value in columns.items():
        setattr(review, name, value)
    if not is_same:
        review.policy_applied = 0
    # Have the sweep set its deadlines again: they depend on the risk.
    review.watch_at = Now()
    review.save(update_fields=[*columns, "policy_applied", "watch_at"])
    message.review = review


def count(message: Message, actor: Actor) -> None:
    """Count a waiting message, when content of it is stored, towards the caps; if it is
    past one, it is set apart.
    """
    if set_apart(
        message,
        key=message.sent_by_key,
        key_name=message.sent_by_key_name,
        actor=actor,
    ):
        record_about(
            "message.set_apart",
            message,
            actor,
            details={"brake": str(message.review.brake_id)},
        )


def look_for_words(message: Message) -> bool:
    """Look for the words of the policy's rules in a stored message, as far as that was
    not done yet, and set them in its review, which is not saved. Return whether any
    were looked for. Raises ParserUnavailable.
    """
    revision = message.revision
    facts = message.review.policy_facts
    if revision is None or facts is None:
        return False
    words = unknown_words(facts, asked_words())
    if words:
        content = stored_content(revision)
        rendered = rendered_content(revision, content)
        facts["words"] |= words_in(content, rendered, words)
    return bool(words)


def risk_facets(findings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns of a review that follow from the findings: the level of risk,
    and the names of their rules, the worst first.
    """
    found = worst_first(map(restored, findings))
    names = dict.fromkeys(one.rule[:40] for one in found if one.rule)
    return {"risk_level": level_of(found), "rules": list(names)}


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


def _searched(text: str) -> list[str]:
    return words_of(text) + pairs_of(text)


def text_of(content: Content, html_text: str) -> str:
    """Return the text of a message: its Markdown and, if it has HTML, the text of that
    (`html_text`). Each is cut at MAX_TEXT characters.
    """
    parts = [content.markdown or ""]
    if content.html is not None:
        parts.append(html_text)
    return "\n".join(part[:MAX_TEXT] for part in parts)
