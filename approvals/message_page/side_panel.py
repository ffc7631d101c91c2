"""What stands beside the content of a message: claims, history and comments, attached
files, its findings (worst first, each with a link to its place), and where it came from.

A sender's claim of that counts as verified only where the desk saw it signed.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from approvals.collaboration import MAX_COMMENT
from approvals.decisions.ruling import is_reviewer, may_handle
from approvals.decisions.shown import (
    file_name,
    finding_name,
    key_of,
    viewed_names,
)
from approvals.desk_messages import our_decisions
from approvals.models import CommandedMail, Question, Snooze
from approvals.queue.filters import Filters, with_query
from approvals.queue.querysets import queue_messages
from approvals.queue.rows import live_claim
from approvals.usual_texts import Kind, Presets
from audit.models import Entry
from audit.trail import lines
from common.actors import Actor
from common.pages import DeskRequest
from common.time_zones import zone_name
from mirror.attachments.preview import FilePreview
from mirror.models import AttachedFile, Message
from mirror.states import LIVE_DECISIONS, DecisionState
from mirror.store import stored_content
from mirror.terms import BACK_BEFORE
from risk.findings import (
    IN_FRAME,
    PARTS,
    Finding,
    Score,
    level_of,
    points_of,
    restored,
    rule_order,
    score,
)
from risk.rules import RULES

MOST_COMMENTS = 50
MOST_LINES = 12
# Entries shown as comments, or not of interest to others.
_HIDDEN_ACTIONS = ("comment.added", "snooze.set", "snooze.ended", "claim.released")


def actions_on(message: Message) -> set[str]:
    """Return what the ledger says has happened to the message: what never did needs no
    query.
    """
    entries = Entry.objects.of_message(message.public_id)
    return set(entries.values_list("action", flat=True).distinct())


def panel_context(
    request: DeskRequest,
    message: Message,
    *,
    presets: Presets,
    happened: Collection[str],
) -> dict[str, Any]:
    """Return the claim, the possible actions, and the history. `happened` are the
    `actions_on` the message.
    """
    actor = request.actor
    person = int(actor.id)
    now = timezone.now()
    claim = live_claim(message, now=now)
    waits = _awaits_review(message)
    snooze = None
    snooze_choices = None
    if waits:
        if "snooze.set" in happened:
            snooze = Snooze.objects.on(message).of_person(person).in_force().first()
        # Only offered: the chosen time is checked by the database's clock.
        latest = message.expires_at - BACK_BEFORE if message.expires_at else None
        snooze_choices = {
            "zone": zone_name(),
            "latest": latest,
            "is_too_late": latest is not None and latest <= now,
        }
    entries = Entry.objects.of_message(message.public_id).without_steps()
    entries = entries.exclude(action__in=_HIDDEN_ACTIONS).newest_first()
    history: list[dict[str, Any]] = [
        {"at": one.at, "line": one} for one in lines(entries[:MOST_LINES])
    ]
    open_question = None
    if "comment.added" in happened:
        open_question = (
            Question.objects.on(message).of_person(person).with_comments().first()
        )
        for comment in message.comments.newest_first()[:MOST_COMMENTS]:
            history.append({"at": comment.created_at, "comment": comment})
    return {
        "claim": claim,
        "has_claim": claim is not None and claim.person_id == person,
        "waits": waits,
        "may_claim": waits and is_reviewer(actor, message),
        "may_comment": may_handle(actor, message),
        "snooze": snooze,
        "snooze_choices": snooze_choices,
        "history": sorted(history, key=lambda one: one["at"], reverse=True),
        "open_question": open_question,
        "max_comment": MAX_COMMENT,
        "saved_comments": presets[Kind.COMMENT],
    }


def _awaits_review(message: Message) -> bool:
    """Whether `awaiting_review` finds the message, by its decisions as they were read."""
    if not message.is_held:
        return False
    for decision in our_decisions(message):
        if decision.state in LIVE_DECISIONS:
            return False
        # What took effect before the message last changed no longer counts.
        is_applied = decision.state == DecisionState.APPLIED
        if is_applied and decision.changed_at >= message.changed_at:
            return False
    return True


def ticks_shown(
    message: Message, opened: Collection[str], *, actor: Actor
) -> set[str] | None:
    """Return the names of the files and findings that the actor ticked; None where
    there is nothing to tick.

    Those who may decide can tick, while the message is held.
    """
    may_tick = message.is_held and is_reviewer(actor, message)
    return viewed_names(message, opened) if may_tick else None


def files_shown(
    message: Message, files: Sequence[AttachedFile], opened: Collection[str]
) -> dict[str, Any]:
    """Return how the attached files of a message are shown."""
    shown = [
        FilePreview(file, name=file_name(file), is_opened=key_of(file) in opened)
        for file in files
    ]
    listed = stored_content(message.revision).attachments if message.revision else ()
    return {
        "files": shown,
        # Only what the bytes reveal; what the names reveal is among the findings.
        "files_that_lie": [one for one in shown if one.file.differs or one.serious],
        # Beyond the limit of stored files, or of a message that was decided before
        # files were fetched.
        "not_stored": listed[len(files) :],
        "files_wait": message.is_held
        and any(one.file.state == "waiting" for one in shown),
    }


# How many pieces of a finding's evidence are shown.
MAX_EVIDENCE = 20


@dataclass(frozen=True)
class Jump:
    """Where a finding leads: an address that works without scripts, and the mark in the
    message's frame for scripts.
    """

    url: str
    words: str
    mark: str = ""


@dataclass(frozen=True)
class FoundLine:
    """One finding. `level` is what it counts for now: "high", "notice", or empty where
    an admin gave it no points.
    """

    rule: str
    words: str
    level: str
    sentence: str
    detail: str
    points: int
    # What its place on the page is called.
    name: str
    jump: Jump | None
    evidence: tuple[str, ...]


def findings_of(
    message: Message, weights: Mapping[str, int], *, query: str = ""
) -> tuple[list[FoundLine], Score]:
    """Return the findings of a message's current version, those that count most first,
    and what they add up to.

    Jumps keep `query`, the queue's part of the address, with its question mark.
    """
    findings = (
        [restored(one) for one in message.revision.findings] if message.revision else []
    )
    page = reverse("message", args=[message.public_id]) + query
    lines = []
    for one in findings:
        rule = RULES.get(one.rule)
        points = points_of(one, weights)
        line = FoundLine(
            rule=one.rule,
            words=rule.words if rule else one.rule.replace("_", " "),
            level=level_of(points),
            sentence=one.sentence,
            detail=one.detail,
            points=points,
            name=finding_name(one),
            jump=jump_to(one, page),
            evidence=one.evidence[:MAX_EVIDENCE] if len(one.evidence) > 3 else (),
        )
        lines.append(line)
    lines.sort(key=lambda line: (-line.points, rule_order(line.rule)))
    return lines, score(findings, weights)


def jump_to(one: Finding, page: str) -> Jump | None:
    """Return the link to a finding's evidence, from the message's page."""
    if one.rule == "rejected_before":
        if not one.evidence:
            return None
        return Jump(reverse("message", args=[UUID(one.evidence[0])]), "Open it")
    if one.anchor.startswith(IN_FRAME):
        mark = one.anchor.removeprefix("#")
        place = with_query(page, f"view=rendered&mark={mark}#sheet")
        return Jump(place, "Show it", mark)
    if one.anchor == PARTS:
        return Jump(with_query(page, "view=parts#sheet"), "Compare")
    return Jump(one.anchor, "Show it") if one.anchor else None


COUNTED = 100
# Discord's ids are numbers of this length; a link is built of nothing else.
_ID = re.compile(r"[0-9]{17,20}")
_REASONS = ("reason", "stated_reason", "purpose", "intent", "why")
MAX_STATED_REASON = 2000


def origin_of(message: Message, *, actor: Actor) -> dict[str, Any]:
    """Return what is said of who started a message, and how many others wait from the
    same trigger, with the queue that lists them. The count is bounded.
    """
    others = 0
    query = ""
    if message.started_by:
        started = Filters(started=message.started_by, group="none")
        query = started.query()
        waiting = queue_messages().visible_to(actor).in_queue().matching(started)
        others = waiting.exclude(pk=message.pk).values("pk")[: COUNTED + 1].count()
    return {
        "address": discord_address(message.trigger),
        "reason": stated_reason(message.trigger),
        "others": f"{COUNTED}+" if others > COUNTED else others,
        "query": query,
        "is_verified": is_verified(message),
    }


def is_verified(message: Message) -> bool:
    """Whether the interaction that the sender names is a signed command that made this
    message.
    """
    named = str(message.trigger.get("discord_interaction_id") or "")
    if not named:
        return False
    made = CommandedMail.objects.filter(
        connection=message.connection_id, upstream_id=message.upstream_id
    )
    return made.filter(interaction_id=named).exists()


def discord_address(trigger: Mapping[str, Any]) -> str:
    """Return the address of the Discord channel or message that is named by its ids;
    empty where one is missing.
    """
    guild = _id(trigger, "discord_guild_id", "discord_guild")
    channel = _id(trigger, "discord_channel_id", "discord_channel")
    if not guild or not channel:
        return ""
    message = _id(trigger, "discord_message_id")
    return f"https://discord.com/channels/{guild}/{channel}{f'/{message}' if message else ''}"


def stated_reason(trigger: Mapping[str, Any]) -> str:
    """Return why the agent says that it writes; empty where it says nothing."""
    found = (trigger.get(name) for name in _REASONS)
    return next(
        (
            one.strip()[:MAX_STATED_REASON]
            for one in found
            if isinstance(one, str) and one.strip()
        ),
        "",
    )


def _id(trigger: Mapping[str, Any], *names: str) -> str:
    found = (str(trigger.get(name) or "") for name in names)
    return next((one for one in found if _ID.fullmatch(one)), "")
