"""Answers whether a person may approve or reject messages now, and why not (a
"ruling"). It reads the facts from the database: what the active policy asks, which
approvals there are, who started and edited the messages, kill switches, allowlists and
files. From these facts `policy.rules.demand` computes what the policy asks.

It also has the checks of roles, and the locks on messages, that commands share.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from uuid import UUID

from django.db.models import F

from approvals.desk_messages import desk_messages
from approvals.errors import ContentChanged, VerdictNotAllowed
from approvals.models import Brake, CommandedMail, Replacement, Verdict
from common.actors import Actor, Role, Scope, worker
from common.fingerprint import short_fingerprint
from common.postgres import clock
from mirror.models import AttachedFile, Message, Revision
from mirror.states import Outcome
from people.identities import Identities
from people.models import ChatAccount, Grant
from policy.calendars import all_calendars
from policy.errors import RuleError
from policy.models import Group, KillSwitch, key_owners
from policy.rules.conditions import Names
from policy.rules.demand import (
    Approval,
    Demand,
    People,
    Policy,
    evaluate,
)
from policy.rules.facts import active_policy, facts_of, listed_until, lookups_for
from policy.rules.rules import Effects
from rendering import named


@dataclass(frozen=True)
class Contributors:
    """The keys of the people behind a message. `authors` are the owners of the API keys
    that sent it or what it replaces, whoever started it by a command, and the authors
    of a message that it replaces. `editors` edited it or wrote words of it.
    """

    # The API keys that sent the messages which it replaces.
    earlier_keys: frozenset[str]
    authors: frozenset[int]
    editors: frozenset[int]
    # The first message of the edits in a row to which it belongs; 0 for none.
    root: int
    # When that was held, if an edit made this one of it.
    first_held_at: datetime | None
    # Whether an edited version of it is being sent, or may have been; and whether
    # another version of it was approved or sent.
    is_being_edited: bool
    is_other_sent: bool


@dataclass(frozen=True)
class Ruling:
    """Whether a person may approve or reject a message now, and the reasons as
    sentences, from facts about the message and the person. In doubt they may not.
    """

    is_held: bool
    is_fetched: bool
    is_reviewer: bool
    is_expired: bool
    mailbox: str
    # Names of attached files whose bytes are known to differ from the fingerprint.
    files_that_differ: tuple[str, ...]
    # Who pulled the kill switch, and why; empty when nothing is stopped. People may
    # decide all the same; the decisions wait, and can be undone, until it is released.
    stopped_by: str
    contributors: Contributors
    # What the rules of the policy ask, and how many approvals are given.
    demand: Demand

    @property
    def may_reject(self) -> bool:
        """Whether the person may reject it."""
        return self.is_held and self.is_fetched and self.is_reviewer

    @property
    def may_approve(self) -> bool:
        """Whether the person may approve it."""
        return self.may_reject and not self.refusals

    @property
    def rule(self) -> str:
        """A word for the first reason that refuses an approval, or lets it wait."""
        if not self.may_reject:
            return ""
        if self.refusals:
            return self.refusals[0][0]
        return "stopped" if self.stopped_by else ""

    @cached_property
    def refusals(self) -> list[tuple[str, str]]:
        """Why the person may not approve it, even if they may reject it: for each reason
        a word and a sentence.
        """
        names = ", ".join(self.files_that_differ)
        checks = (
            (
                "version",
                self.contributors.is_being_edited,
                "Somebody edited this message, so the edited version is approved in its place.",
            ),
            (
                "version",
                self.contributors.is_other_sent,
                "Another version of this message was approved, so this one must not be sent too. Reject it.",
            ),
            ("expired", self.is_expired, "The time to approve this message is over."),
            (
                "files",
                self.files_that_differ,
                f"It cannot be approved: an attachment does not match the fingerprint ({names}).",
            ),
        )
        refusing = [(code, sentence) for code, refuses, sentence in checks if refuses]
        return refusing + self.demand.refusals()

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """The sentences, the most important first."""
        if not self.is_held:
            return ("This message is no longer held, so there is nothing to decide.",)
        if not self.is_reviewer:
            where = f" of {self.mailbox}" if self.mailbox else ""
            return (
                f"You can read this, but only a reviewer{where} can decide it. An admin gives that role, under People.",
            )
        if not self.is_fetched:
            return (
                "The content is still being fetched. It can be decided once it is here.",
            )
        demand = self.demand
        if self.refusals:
            return (*(sentence for _, sentence in self.refusals), *demand.sentences)
        progress = demand.progress
        if self.stopped_by:
            first = f"Nothing is sent until the kill switch is released. Pulled by {self.stopped_by}."
        elif not demand.takes_several:
            first = "One approval is needed."
        elif not demand.people.approvals:
            first = f"{progress.needed} approvals are needed."
        else:
            first = f"{progress} approvals are given{demand.approved_by}."
        return (first, *demand.sentences)


def contributors_of(messages: Sequence[Message]) -> dict[int, Contributors]:
    """Return by the messages' keys who started and who edited each; in at most six
    queries.
    """
    edits = list(Replacement.objects.around(messages).defer("markdown", "note"))
    # The owners of the API keys that sent these messages, by connection and key.
    owners: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    keys = {*map(_proven_key, messages), *(edit.first_key for edit in edits)} - {""}
    if keys:
        for connection, key, person in key_owners(keys):
            owners[connection, key].add(person)
    commands = CommandedMail.objects.naming(messages)
    started_by = {
        one.pk: str(one.trigger.get("discord_user_id") or "") for one in messages
    }
    # A sender can name anybody, but this only keeps that person from approving.
    linked = ChatAccount.objects.filter(
        service="discord", account_id__in={*started_by.values()} - {""}
    )
    people = dict(linked.values_list("account_id", "person"))
    contributors = {}
    for message in messages:
        connection = message.connection_id
        made_by = [edit for edit in edits if edit.made(message)]
        earlier_keys = {
            edit.first_key for edit in made_by if message.connection.is_our_gateway
        } - {""}
        authors = set[int]()
        for key in (_proven_key(message), *earlier_keys):
            authors |= owners[connection, key]
        authors.update(one.person_id for one in commands if one.made(message))
        if started_by[message.pk] in people:
            authors.add(people[started_by[message.pk]])
        editors = set(message.review.written_by)
        replaced_by = [edit for edit in edits if edit.message_id == message.pk]
        roots = {edit.root_id for edit in (*made_by, *replaced_by)}
        for edit in made_by:
            authors.update(edit.authors)
            editors.update(edit.editors)
            editors.add(edit.person_id)
        contributors[message.pk] = Contributors(
            earlier_keys=frozenset(earlier_keys),
            authors=frozenset(authors),
            editors=frozenset(editors),
            root=max(roots, default=0),
            first_held_at=min((edit.first_held_at for edit in made_by), default=None),
            is_being_edited=any(edit.state != "done" for edit in replaced_by),
            is_other_sent=any(
                (edit.first_sent and edit not in replaced_by)
                or (edit.new_sent and edit not in made_by)
                for edit in edits
                if edit.root_id in roots
            ),
        )
    return contributors


def _proven_key(message: Message) -> str:
    """Return the API key that a message was sent with. Empty unless our gateway reports
    it, whose reports are trusted.
    """
    is_proven = message.direction == "outbound" and message.connection.is_our_gateway
    return message.sent_by_key if is_proven else ""


def policy_in_force() -> Policy:
    """Return the active policy. If it cannot be read, it says so, and nothing may be
    approved by it.
    """
    try:
        return active_policy()
    except RuleError as error:
        return Policy(unreadable=error.sentence)


def demands_for(
    messages: Sequence[Message],
    actor: Actor,
    now: datetime,
    *,
    policy: Policy | None = None,
    contributors: Mapping[int, Contributors] | None = None,
    is_decided: bool = False,
    is_automatic: bool = False,
) -> dict[int, Demand]:
    """Return by the messages' keys what the policy asks of each, and how much of it has
    been given.

    The number of queries is fixed. Callers that have read the policy or the
    contributors already pass them. `now` is when the messages would leave.
    `is_decided` says that the message is decided, and is only checked again before the
    decision is carried out. `is_automatic`: the policy acts by itself, and takes files
    that were not read for what they claim to be.
    """
    if not messages:
        return {}
    policy = policy or policy_in_force()
    contributors = contributors or contributors_of(messages)
    identities = Identities()
    roots = {one.root for one in contributors.values()} - {0}
    first_versions = {}
    if roots:
        first_versions = desk_messages().for_policy().in_bulk(roots)
    lookups = lookups_for(policy.rules, now, [*messages, *first_versions.values()])
    # The live approvals of each message's current version, the oldest first.
    approvals_given = Verdict.objects.given_on(messages).filter(
        live=True, outcome=Outcome.APPROVE, revision=F("message__revision")
    )
    approvals: defaultdict[int, list[Approval]] = defaultdict(list)
    for one in approvals_given.defer("seen"):
        given = Approval(
            one.person_id, str(one.person), one.surface, one.given_at, one.with_care
        )
        approvals[one.message_id].append(given)
    scopes: list[tuple[int, Scope]] = []
    groups: defaultdict[int, set[int]] = defaultdict(set)
    group_names = {}
    if approvals or policy.asks_people:
        grants = Grant.objects.filter(role=Role.REVIEWER, person__is_active=True)
        scopes = [(one.person_id, one.scope) for one in grants]
        for member in Group.members.through.objects.all():
            groups[member.group_id].add(member.person_id)
        group_names = dict(Group.objects.values_list("pk", "name"))
    calendars = all_calendars() if policy.asks_hours else {}
    hours = {key: one.name for key, one in calendars.items()}
    names = Names({"groups": group_names, "calendars": hours})
    demands = {}
    for message in messages:
        behind = contributors[message.pk]
        look_up_facts = partial(
            facts_of,
            lookups=lookups,
            earlier_keys=behind.earlier_keys,
            is_edited=bool(behind.editors),
            takes_claims=is_automatic,
        )
        first = first_versions.get(behind.root)
        people = People(
            person=actor.person_id if actor.kind == "person" else 0,
            approvals=tuple(approvals[message.pk]),
            authors=behind.authors,
            editors=behind.editors,
            reviewers=frozenset(
                person
                for person, scope in scopes
                if scope.reaches(
                    connection=message.connection_id, mailbox=message.mailbox_id
                )
            ),
            groups=groups,
            names=names,
            identities=identities,
        )
        demands[message.pk] = evaluate(
            policy,
            look_up_facts(message),
            now,
            people,
            calendars=calendars,
            first=look_up_facts(first) if first else None,
            is_decided=is_decided,
        )
    return demands


def passages_for_rules(message: Message, actor: Actor) -> list[str]:
    """Return what in a held message is the reason why rules of the policy apply."""
    if not message.is_held or not policy_in_force().number:
        return []
    asked = desk_messages().for_policy().filter(pk=message.pk)
    return [
        passage
        for demand in demands_for(list(asked), actor, clock()).values()
        for passage in demand.passages
    ]


def closing_of(message: Message, now: datetime) -> datetime | None:
    """Return until when the policy lets a message leave that may leave now: until hours
    end, or an entry of an allowlist; None if it knows no such time.
    """
    policy = active_policy()
    ends = [listed_until(policy, message, now)]
    if policy.asks_hours:
        demands = demands_for([message], worker("decisions"), now)
        ends.append(demands[message.pk].closes())
    return min(filter(None, ends), default=None)


def expiry_of(
    message: Message, effects: Effects, contributors: Contributors
) -> datetime | None:
    """Return when a message expires: at its own time, or sooner if rules say so. None:
    never.
    """
    ends = (latest_end(message, effects, contributors), message.expires_at)
    return min(filter(None, ends), default=None)


def latest_end(
    message: Message, effects: Effects, contributors: Contributors
) -> datetime | None:
    """Return until when these effects let a message wait, at most; None for any time. An
    edit gives it no more time than the version that was held first.
    """
    if effects.expire_minutes is None:
        return None
    held_at = contributors.first_held_at or message.held_at
    return held_at + timedelta(minutes=effects.expire_minutes)


def rulings(
    messages: Sequence[Message],
    actor: Actor,
    *,
    now: datetime | None = None,
    is_decided: bool = False,
) -> dict[int, Ruling]:
    """Return by the messages' keys whether this person may approve and reject each, and
    why not; in a fixed number of queries.

    Commands give no `now` or the database's: a host whose clock is wrong must not let a
    message expire early, or keep an allowlist entry alive. `is_decided` says that a
    message is decided, and is only checked again before the decision is carried out.
    """
    now = now or clock()
    # The execution of decisions checks kill switches itself.
    pulled = KillSwitch.objects.none() if is_decided else KillSwitch.objects.pulled()
    switches = list(pulled.prefetch_related("pulled_by", "mailbox").order_by("pk"))
    # The names of up to three files of each version whose bytes are known to differ.
    versions = [
        one.revision_id
        for one in messages
        if one.revision and one.revision.content.get("attachments")
    ]
    differing: defaultdict[int | None, list[str]] = defaultdict(list)
    if versions:
        files = AttachedFile.objects.filter(revision__in=versions).differing()
        for file in files.in_order().only("revision", "name"):
            differing[file.revision_id].append(named(file.name)[:80])
    contributors = contributors_of(messages)
    demands = demands_for(
        messages, actor, now, contributors=contributors, is_decided=is_decided
    )
    rulings_by_message = {}
    for message in messages:
        stop = next((one for one in switches if switch_stops(one, message)), None)
        demand = demands[message.pk]
        expires_at = expiry_of(message, demand.effects, contributors[message.pk])
        rulings_by_message[message.pk] = Ruling(
            is_held=message.is_held,
            is_fetched=message.hydrated_at is not None,
            is_reviewer=is_reviewer(actor, message),
            is_expired=expires_at is not None and expires_at <= now,
            mailbox=str(message.mailbox or ""),
            files_that_differ=tuple(differing[message.revision_id][:3]),
            stopped_by=f"{stop.pulled_by} ({stop.reason})" if stop else "",
            contributors=contributors[message.pk],
            demand=demand,
        )
    return rulings_by_message


def ruling_of(
    message: Message,
    actor: Actor,
    *,
    now: datetime | None = None,
    is_decided: bool = False,
) -> Ruling:
    """Return the ruling on one message, as `rulings` does."""
    return rulings([message], actor, now=now, is_decided=is_decided)[message.pk]


def lock_versions(message: Message) -> None:
    """Lock the first of the versions of a locked message until the transaction ends, so
    that of all of them at most one is approved at a time.
    """
    edits = Replacement.objects.that_made([message])
    root = Message.objects.filter(pk__in=edits.values("root"))
    list(root.select_for_update(no_key=True).values_list("pk"))


def switch_stops(switch: KillSwitch, message: Message) -> bool:
    """Whether a kill switch stops this message; the same rule as in the query
    `KillSwitchQuerySet.stopping`.

    If the message's mailbox is not known, the switch of any mailbox of its connection
    stops it.
    """
    if switch.mailbox is None:
        return switch.connection_id in (None, message.connection_id)
    return (
        switch.mailbox.connection_id == message.connection_id
        and message.mailbox_id in (None, switch.mailbox_id)
    )


def stop_of(message: Message) -> KillSwitch | None:
    """Return a kill switch that keeps decisions on this message from being carried out;
    None if there is none.
    """
    stops = KillSwitch.objects.stopping(
        connection=message.connection_id, mailbox=message.mailbox_id
    )
    return stops.select_related("pulled_by").first()


def is_reviewer(actor: Actor, message: Message) -> bool:
    """Whether the actor is a reviewer of the message's mailbox."""
    return actor.is_a(
        Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id
    )


def may_handle(actor: Actor, about: Message | Brake) -> bool:
    """Whether the actor is a reviewer or an admin of the mailbox of a message or flood.

    Both may assign a message, comment on it, and have MultiMail asked about it.
    """
    return any(
        actor.is_a(role, connection=about.connection_id, mailbox=about.mailbox_id)
        for role in (Role.REVIEWER, Role.ADMIN)
    )


def content_changed(message: Message, shown: str) -> ContentChanged:
    """Return the error to raise if the message no longer has the content with the
    fingerprint `shown`.
    """
    current = message.fingerprint
    before = short_fingerprint(shown) if shown else "none"
    now = short_fingerprint(current) if current else "none"
    return ContentChanged(
        f"The message changed after you opened it: you saw {before}, now it is {now}. Read it again, then decide."
    )


def check_content(message: Message, shown: str) -> Revision:
    """Return the current version of the message. Raises ContentChanged if it has none,
    or another than the one with the fingerprint `shown`.
    """
    revision = message.revision
    if revision is None or revision.fingerprint != shown:
        raise content_changed(message, shown)
    return revision


def lock_visible(message: UUID, actor: Actor) -> Message:
    """Return a message with its content, locked until the transaction ends. Raises
    VerdictNotAllowed if the actor may not see it.
    """
    # In two statements, since the first may wait for the lock: rows joined in it would
    # be as old as before the wait, or missing if the message has got a new revision.
    # no_key: other transactions can insert rows that refer to the message.
    visible = Message.objects.visible_to(actor).select_for_update(
        of=("self",), no_key=True
    )
    keys = list(visible.filter(public_id=message).values_list("pk", flat=True))
    if not keys:
        raise VerdictNotAllowed("This message does not exist, or you may not see it.")
    return Message.objects.with_content().with_connection().get(pk=keys[0])


def lock_for_reviewer(message: UUID, actor: Actor, *, to: str) -> Message:
    """Return a message as `lock_visible` does. Raises VerdictNotAllowed if the actor is
    no reviewer of its mailbox; `to` says in the sentence what they wanted to do.
    """
    locked = lock_visible(message, actor)
    if not is_reviewer(actor, locked):
        raise VerdictNotAllowed(f"Only a reviewer of this mailbox can {to}.")
    return locked
