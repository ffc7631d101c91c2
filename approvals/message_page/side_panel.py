"""What the message page shows beside the content: claims, history and comments,
attached files, findings (worst first, each with a link to its evidence), and who or
what started the message.

A sender's claim that a Discord command started the message counts as verified only if
the desk itself received that command, signed by Discord.
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
from approvals.decisions.shown import file_name, finding_name, key_of, viewed_names
from approvals.desk_messages import our_decisions
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
from mirror.states import BACK_BEFORE, LIVE_DECISIONS, DecisionState
from mirror.store import stored_content
from risk.findings import IN_FRAME, PARTS, Finding, restored, worst_first
from risk.rules import RULES

# How many comments, and how many ledger entries, the history shows at most.
MOST_COMMENTS = 50
MOST_LINES = 12
# Actions that the history leaves out: comments are shown as such, and the others
# interest only the person who acted.
_HIDDEN_ACTIONS = ("comment.added", "snooze.set", "snooze.ended", "claim.released")


def actions_on(message: Message) -> set[str]:
    """Return the actions that the ledger has of a message. Callers skip queries about
    an action that never happened.
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
    """Return the template context of the panel: the claim, the person's snooze and open
    question, what they may do, and the history with comments. `happened` is the result
    of `actions_on`.
    """
    person = request.actor.person_id
    now = timezone.now()
    claim = live_claim(message, now)
    waits = _awaits_review(message)
    snooze = None
    snooze_choices = None
    if waits:
        if "snooze.set" in happened:
            snooze = message.snoozes.of_person(person).in_force().first()
        # By this server's clock; the command checks the chosen time by the database's.
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
        open_question = message.questions.of_person(person).with_comments().first()
        # Relies on comment_of_message.
        comments = message.comments.select_related("person")
        history += [
            {"at": one.created_at, "comment": one}
            for one in comments.order_by("-created_at", "-pk")[:MOST_COMMENTS]
        ]
    return {
        "claim": claim,
        "has_claim": claim is not None and claim.person_id == person,
        "waits": waits,
        "may_claim": waits and is_reviewer(request.actor, message),
        "may_comment": may_handle(request.actor, message),
        "snooze": snooze,
        "snooze_choices": snooze_choices,
        "history": sorted(history, key=lambda one: one["at"], reverse=True),
        "open_question": open_question,
        "max_comment": MAX_COMMENT,
        "saved_comments": presets[Kind.COMMENT],
    }


def _awaits_review(message: Message) -> bool:
    """Whether the query `awaiting_review` would find the message, computed from the
    decisions that were read with it.
    """
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
    message: Message, opened: Collection[str], actor: Actor
) -> set[str] | None:
    """Return the names of the files and findings that a person ticked. Reviewers can
    tick while the message is held; otherwise None.
    """
    may_tick = message.is_held and is_reviewer(actor, message)
    return viewed_names(message, opened) if may_tick else None


def files_shown(
    message: Message, files: Sequence[AttachedFile], opened: Collection[str]
) -> dict[str, Any]:
    """Return the template context of the attached files. `opened` are the keys of the
    parts that the person has opened.
    """
    previews = [
        FilePreview(file, name=file_name(file), is_opened=key_of(file) in opened)
        for file in files
    ]
    attachments = (
        stored_content(message.revision).attachments if message.revision else ()
    )
    return {
        "files": previews,
        # Attachments beyond the limit of stored files, or of a message that was decided
        # before its files were fetched.
        "not_stored": attachments[len(files) :],
        "files_wait": message.is_held
        and any(one.file.state == "waiting" for one in previews),
    }


# How many pieces of a finding's evidence are shown.
MAX_EVIDENCE = 20


@dataclass(frozen=True)
class Jump:
    """The link of a finding to its evidence: a URL that works without scripts, its
    words, and for scripts the id of the mark in the message's frame.
    """

    url: str
    words: str
    mark: str = ""


@dataclass(frozen=True)
class FoundLine:
    """One finding, as the page shows it."""

    rule: str
    words: str
    level: str
    sentence: str
    detail: str
    # What its place on the page is called.
    name: str
    jump: Jump | None
    evidence: tuple[str, ...]


def findings_of(message: Message, *, query: str = "") -> list[FoundLine]:
    """Return the findings of a message's current version, the worst first. `query` is
    the queue's query string with its question mark, which the links keep.
    """
    stored = message.revision.findings if message.revision else []
    page = reverse("message", args=[message.public_id]) + query
    lines = []
    for finding in worst_first(map(restored, stored)):
        rule = RULES.get(finding.rule)
        lines.append(
            FoundLine(
                rule=finding.rule,
                words=rule.words if rule else finding.rule.replace("_", " "),
                level=finding.level,
                sentence=finding.sentence,
                detail=finding.detail,
                name=finding_name(finding),
                jump=jump_to(finding, page),
                evidence=finding.evidence[:MAX_EVIDENCE]
                if len(finding.evidence) > 3
                else (),
            )
        )
    return lines


def jump_to(one: Finding, page: str) -> Jump | None:
    """Return the link to a finding's evidence; None if it has none. `page` is the URL
    of the message's page.
    """
    if one.rule == "rejected_before":
        if not one.evidence:
            return None
        return Jump(reverse("message", args=[UUID(one.evidence[0])]), "Open it")
    if one.anchor.startswith(IN_FRAME):
        mark = one.anchor.removeprefix("#")
        return Jump(
            with_query(page, f"view=rendered&mark={mark}#sheet"), "Show it", mark
        )
    if one.anchor == PARTS:
        return Jump(with_query(page, "view=parts#sheet"), "Compare")
    return Jump(one.anchor, "Show it") if one.anchor else None


# How far other messages of the same trigger are counted.
COUNTED = 100
# Discord's ids have this many digits; a link is built from such ids only.
_ID = re.compile(r"[0-9]{17,20}")
# The metadata keys in which agents state their reason, the preferred one first.
_REASONS = ("reason", "stated_reason", "purpose", "intent", "why")
# Characters of a stated reason that are shown.
MAX_STATED_REASON = 2000


def origin_of(message: Message, actor: Actor) -> dict[str, Any]:
    """Return the template context about who or what started a message: the link to
    Discord, the agent's stated reason, and how many other messages of the same trigger
    wait, with the query string that lists them in the queue.
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
        "is_verified": Entry.objects.of_message(message.public_id)
        .of_action("message.commanded")
        .exists(),
    }


def discord_address(trigger: Mapping[str, Any]) -> str:
    """Return the link to the Discord message that the trigger names, or to its channel
    if the message is not named. Empty if server or channel are missing.
    """
    guild = _id(trigger, "discord_guild_id", "discord_guild")
    channel = _id(trigger, "discord_channel_id", "discord_channel")
    if not guild or not channel:
        return ""
    message = _id(trigger, "discord_message_id")
    return f"https://discord.com/channels/{guild}/{channel}{f'/{message}' if message else ''}"


def stated_reason(trigger: Mapping[str, Any]) -> str:
    """Return the reason that the agent states for its message; empty if it has none."""
    values = (trigger.get(name) for name in _REASONS)
    return next(
        (
            value.strip()[:MAX_STATED_REASON]
            for value in values
            if isinstance(value, str) and value.strip()
        ),
        "",
    )


def _id(trigger: Mapping[str, Any], *names: str) -> str:
    values = (str(trigger.get(name) or "") for name in names)
    return next((value for value in values if _ID.fullmatch(value)), "")
