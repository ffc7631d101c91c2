"""What the queue's templates show: a `Row` for each message, the chips of the filters,
and the notice above the list.

The notice tells the person what they have just decided, with Undo. The decision is read
again each time, so that the notice is right on an old page or link too.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.text import get_text_list

from approvals.decisions.later import time_in_words
from approvals.decisions.ruling import is_reviewer, stop_of
from approvals.decisions.status import (
    AvailableActions,
    Status,
    StatusCode,
    available_actions,
    not_sent_because,
    reported_in_words,
    shown_status,
)
from approvals.desk_messages import latest_decision, shown_message
from approvals.models import Claim, Decision, Question, Reminder, Snooze, Verdict
from approvals.queue.filters import NARROWING, RISKS, Filters
from common.actors import Actor
from common.counts import counted
from common.tables import table_pairs
from common.time_zones import time_of_day
from mirror.models import Mailbox, Message
from mirror.states import CLAIM_LASTS, LIVE_DECISIONS, DecisionState, Outcome
from policy.rules.demand import Demand
from risk.rules import RULES, rules_in_words

# A message is near its expiry if less time is left than this, or than this share of its
# whole time. The time left is then shown in red.
NEAR = timedelta(minutes=15)
NEAR_SHARE = 0.1
# Likewise for expiring soon, which is shown in amber.
SOON = timedelta(hours=1)
SOON_SHARE = 0.2


@dataclass(frozen=True)
class Expiry:
    """When a message expires. `is_over` means that this time has passed and the expiry
    rule is about to reject the message.
    """

    at: datetime
    is_soon: bool
    is_near: bool
    is_over: bool


def expiry_of(message: Message, now: datetime) -> Expiry | None:
    """Return when the message expires; None if it does not expire or is not held."""
    if message.expires_at is None or not message.is_held:
        return None
    left = message.expires_at - now
    whole = message.expires_at - message.held_at
    return Expiry(
        message.expires_at,
        is_soon=left <= max(SOON, whole * SOON_SHARE),
        is_near=left <= max(NEAR, whole * NEAR_SHARE),
        is_over=left <= timedelta(0),
    )


# The most reasons for its risk that a row names.
MAX_REASONS = 3


@dataclass(frozen=True)
class MessageGroup:
    """The group of messages that one row stands for.

    `size` is how many these are, in words, `differing` how many of them name other sums
    of money than most, `label` what they have in common, and `query` the query string
    that lists them.
    """

    size: str
    differing: int
    label: str
    query: str


def approvers_in_words(verdicts: Iterable[Verdict]) -> dict[int, str]:
    """Return, by key of the message, how many people approved it and their names, such
    as "2 of 2 approved: Ana and Ben". Messages that needed one approval are left out.
    The verdicts come in the order in which they were given.
    """
    progress = {}
    names: dict[int, list[str]] = defaultdict(list)
    for one in verdicts:
        if one.live and one.seen.get("needed", 1) > 1:
            progress[one.message_id] = one.seen["approvals"]
            if one.outcome == Outcome.APPROVE:
                names[one.message_id].append(str(one.person))
    return {
        key: f"{reached} approved: {get_text_list(names[key], 'and')}"
        for key, reached in progress.items()
    }


@dataclass
class Row:
    """One row of the list: a message that was read with `for_rows`, and what this
    person sees about it.
    """

    message: Message
    actor: Actor
    now: datetime
    # What the policy asks, while the message can be decided; None if it asks nothing.
    demand: Demand | None = None
    # The group that the row stands for; None if the row is one message.
    group: MessageGroup | None = None
    # Only in Mine: this person's snooze, who asked them about the message, and whether
    # they have a reminder of it.
    snooze: Snooze | None = None
    asked_by: str = ""
    is_reminded: bool = False
    # Only in the history: the key of the newest verdict, whose page shows what was
    # seen; and who approved, if several had to (`approvers_in_words`).
    verdict_id: int | None = None
    approved: str = ""

    @cached_property
    def status(self) -> Status:
        return shown_status(self.message)

    @cached_property
    def decision(self) -> Decision | None:
        return latest_decision(self.message)

    @cached_property
    def expiry(self) -> Expiry | None:
        return expiry_of(self.message, self.now)

    @cached_property
    def claim(self) -> Claim | None:
        return live_claim(self.message, self.now)

    @property
    def holder(self) -> str:
        """ "Claimed by" or "Assigned to" with the person; empty if nobody has it."""
        if self.claim is None:
            return ""
        is_own = str(self.claim.person_id) == self.actor.id
        return f"{self.claim.words} {'you' if is_own else self.claim.person}"

    @property
    def reported(self) -> str:
        """What a webhook reported about the message, while no read of MultiMail has
        confirmed it.
        """
        return reported_in_words(self.message)

    @property
    def more_recipients(self) -> int:
        """How many recipients it has besides the one whose address is shown, with Cc
        and Bcc if they are known.
        """
        if self.message.is_inbound:
            return 0
        return max(0, len(self.message.addresses) - 1, len(self.message.recipients) - 1)

    @property
    def late_since(self) -> datetime | None:
        """Since when the message is late for its review plan; None if it is not late,
        or not held any more.
        """
        return self.message.review.late_since if self.is_held else None

    @property
    def is_held_again(self) -> bool:
        """Whether the message is held although it was decided, because MultiMail
        refused the decision.
        """
        return (
            self.decision is not None
            and self.decision.state == DecisionState.REFUSED
            and self.is_held
        )

    @property
    def is_held(self) -> bool:
        return self.status.code == StatusCode.HELD

    @property
    def decided_or_changed_at(self) -> datetime:
        """When the message was decided here; without a decision, when it last changed."""
        return self.decision.recorded_at if self.decision else self.message.changed_at

    @property
    def is_decided(self) -> bool:
        """Whether the message is not held and the decision is not withdrawn, which could
        still take effect.
        """
        return not self.is_held and not (
            self.decision and self.decision.state == DecisionState.WITHDRAWN
        )

    @property
    def reasons(self) -> str:
        """Up to three reasons for the message's risk, in words."""
        return rules_in_words(self.message.review.rules, MAX_REASONS)

    @property
    def starter(self) -> str:
        """Who or what started the message, as the sending program claims; empty if it
        is not known.
        """
        if not self.discord_user:
            return self.message.started_by.partition(":")[2]
        channel = str(self.message.trigger.get("discord_channel") or "")
        if not channel:
            return self.discord_user
        # Some programs send only the channel's id.
        if channel.isdecimal():
            return f"{self.discord_user} in channel {channel}"
        return f"{self.discord_user} in #{channel.lstrip('#')}"

    @property
    def discord_user(self) -> str:
        """The name or id of the Discord user who started the message; empty if none
        did.
        """
        return str(
            self.message.trigger.get("discord_user")
            or self.message.trigger.get("discord_user_id")
            or ""
        )


def rows_of(
    messages: Sequence[Message],
    *,
    filters: Filters,
    actor: Actor,
    now: datetime,
    demands: Mapping[int, Demand] = {},
) -> list[Row]:
    """Return a row for each message. `demands` are what the policy asks, by key of the
    message.
    """
    rows = []
    for message in messages:
        row = Row(message, actor, now)
        if row.is_held:
            row.demand = demands.get(message.pk)
        size, differing = getattr(message, "group_counts", (0, 0))
        if size > 1:
            label, members = {
                "thread": ("in this thread", {"thread": message.thread_id}),
                "run": ("of this run", {"run": message.run_id}),
                "trigger": ("from the same source", {"started": message.started_by}),
            }.get(filters.group, ("like this", {"alike": message.shape}))
            row.group = MessageGroup(
                counted(size),
                differing,
                label,
                filters.query(**{"group": "none", **members}),
            )
        rows.append(row)
    return rows


def live_claim(message: Message, now: datetime) -> Claim | None:
    """Return the claim of a message that was read with its claim; None if the claim has
    ended. The same rules as in `ClaimQuerySet.live`.
    """
    claim: Claim | None = getattr(message, "claim", None)
    if claim is None or not message.is_held or not claim.person.is_active:
        return None
    return claim if claim.is_assigned or claim.seen_at >= now - CLAIM_LASTS else None


# What the chip of each filter begins with.
_CHIPS = table_pairs(
    """
to | To
from | From
by | Source
rule | Finding
risk | Risk
mailbox | Mailbox
has | With
started | Source
thread | Of one
run | Of run
alike | Like
passed | Leaves by
since | Since
until | Until
"""
)


def chips_of(
    filters: Filters, mailboxes: Iterable[Mailbox]
) -> list[tuple[str, str, str]]:
    """Return, for each active filter: its name, its value, and the query string without
    it. The searched words have no chip, because the search field shows them.
    """
    names = {one.pk: str(one) for one in mailboxes}
    rule = RULES.get(filters.rule)
    # What a chip shows instead of the value in the address.
    words = {
        "rule": rule.words if rule else "",
        "risk": RISKS.get(filters.risk),
        "mailbox": names.get(filters.mailbox or 0),
        "has": "files",
        "started": filters.started.partition(":")[2],
        "thread": "thread",
        "alike": "one another",
        "passed": "a pass",
    }
    chips = []
    for name, label in _CHIPS.items():
        if value := getattr(filters, NARROWING[name]):
            chips.append((label, words.get(name) or value, filters.without(name)))
    return chips


def as_json(message: Message) -> dict[str, Any]:
    """Return what the queue's JSON form has about a message."""
    decision = latest_decision(message)
    ended_by = message.upstream_ended_by
    if decision and decision.state == DecisionState.APPLIED:
        ended_by = decision.ended_by
    return {
        "id": str(message.public_id),
        "upstream_id": message.upstream_id,
        "fingerprint": message.fingerprint or None,
        "state": message.state,
        "decision": decision.state if decision else None,
        "ended_by": ended_by or None,
        "subject": message.subject,
        "risk_level": message.review.risk_level,
    }


def explain_mine(rows: Sequence[Row], actor: Actor) -> None:
    """Set on the rows of Mine why each is there (`snooze`, `asked_by`, `is_reminded`),
    in three queries.
    """
    if not rows:
        return
    keys = [row.message.pk for row in rows]
    person = actor.person_id
    snoozed = {
        record.message_id: record
        for record in Snooze.objects.of_person(person)
        .in_force()
        .filter(message__in=keys)
    }
    questions = Question.objects.of_person(person).filter(message__in=keys)
    asker_by_message = {
        record.message_id: str(record.comment.person)
        for record in questions.with_comments()
    }
    reminders = Reminder.objects.filter(person=person, message__in=keys)
    reminded = set(reminders.values_list("message", flat=True))
    for row in rows:
        row.is_reminded = row.message.pk in reminded
        row.snooze = snoozed.get(row.message.pk)
        row.asked_by = asker_by_message.get(row.message.pk, "")


# No notice is shown for an older decision, whatever the address asks for.
NOTICE_LASTS = timedelta(minutes=10)
# The `AvailableActions.kind` of a decision that the desk carries out as soon as it can.
_TO_BE_SENT = ("leaving", "again")


def notice_context(actor: Actor, public_id: UUID | None) -> dict[str, Any]:
    """Return the template context of the notice about this person's decision on a
    message: how long it can be undone, and what else it waits for.

    If the person's approval waits for others, `just_approved` is set instead. Empty if
    the person decided nothing, undid it, or decided too long ago.
    """
    message = shown_message(actor, public_id) if public_id else None
    if message is None:
        return {}
    decision = latest_decision(message)
    is_open = decision is None or decision.state not in LIVE_DECISIONS
    if is_open and actor.kind == "person" and message.is_held:
        # The person may have given an approval that waits for others, such as "1 of 2".
        # If they gave a decision before, it has ended.
        own_approval = message.verdicts.filter(
            person=actor.person_id,
            awaits_others=True,
            revision=message.revision_id,
            given_at__gt=timezone.now() - NOTICE_LASTS,
        ).first()
        if own_approval is not None:
            return {
                "just_approved": {
                    "message": message,
                    "approvals": own_approval.seen.get("approvals") or "",
                }
            }
    if (
        decision is None
        or str(decision.given_by_id) != actor.id
        or timezone.now() - decision.recorded_at >= NOTICE_LASTS
        or decision.state == DecisionState.UNDONE
    ):
        return {}
    actions = available_actions(
        message, decision, is_reviewer=is_reviewer(actor, message)
    )
    seconds, cause, waits = delay_of(message, decision, actions, timezone.now())
    stop = stop_of(message) if actions.kind in _TO_BE_SENT else None
    if stop:
        seconds, cause = 0, "stopped"
        waits = (
            f"It waits until the kill switch, pulled by {stop.pulled_by}, is released."
        )
    status = shown_status(message)
    word = decision.result
    verb = "Takes effect"
    # What the countdown says will happen when the undo window ends.
    if decision.outcome == Outcome.APPROVE:
        content = message.revision.content if message.revision else {}
        if not content.get("send_at"):
            verb = "Sends"
        if message.is_inbound:
            verb = "Goes to the agent"
            word = "Released"
    is_under_way = actions.kind in ("leaving", "calling", "again")
    if is_under_way:
        tone = "amber" if waits else "green"
    else:
        is_void = decision.state in (DecisionState.REFUSED, DecisionState.SUPERSEDED)
        tone = "amber" if is_void else status.tone
    became = f"{status.word}: {status.detail}" if status.detail else status.word
    if decision.state == DecisionState.APPLIED:
        became = status.word
        if status.code in (StatusCode.APPROVED, StatusCode.REJECTED):
            # That it was decided so is said already.
            became = not_sent_because(message)
    return {
        "just": {
            "became": became,
            "message": message,
            "decision": decision,
            "actions": actions,
            "status": status,
            "seconds": seconds,
            "waits": waits,
            # Where this is another, the notice on the page is replaced.
            "says": f"{status.code} {actions.kind} {cause} {bool(seconds)} {bool(became)}",
            "word": word,
            "verb": verb,
            "is_under_way": is_under_way,
            "tone": tone,
        }
    }


def delay_of(
    message: Message,
    decision: Decision | None,
    actions: AvailableActions,
    now: datetime,
) -> tuple[int, str, str]:
    """Return in how many seconds a decision is carried out, and what else delays it, as
    a code and as a sentence. Both are empty if only the undo window does.
    """
    if decision is not None and actions.kind == "later":
        when = time_in_words(decision.later_at, decision.later_zone)
        return 0, "later", f"Sends {when}."
    if decision is None or actions.kind not in _TO_BE_SENT:
        return 0, "", ""
    connection = message.connection
    cause = waits = ""
    if connection.paused_at:
        cause = "paused"
        waits = (
            f"It waits until {connection.name} works again: {connection.paused_because}"
        )
    elif connection.wait_until and connection.wait_until > now:
        cause = "asked"
        waits = f"MultiMail asked this desk to wait until {time_of_day(connection.wait_until)}."
    elif decision.attempt and decision.explanation:
        at = f" at {time_of_day(decision.due_at)}" if decision.due_at > now else ""
        cause = "again"
        waits = f"The desk tries again{at}. {decision.explanation}"
    return max(0, round((decision.due_at - now).total_seconds())), cause, waits
