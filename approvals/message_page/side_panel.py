"""The panel beside a message: claims, history and comments, attachments, and unopened
parts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from approvals.collaboration import MAX_COMMENT, zone_of
from approvals.decisions.ruling import is_reviewer, may_handle
from approvals.decisions.shown import (
    file_name,
    key_of,
    viewed_names,
)
from approvals.desk_messages import our_decisions
from approvals.models import Comment, Question, Snooze
from approvals.queue.rows import live_claim
from approvals.usual_texts import Kind, Presets
from audit.models import Entry
from audit.trail import lines
from common.actors import Actor
from common.pages import DeskRequest
from mirror.attachments.preview import FilePreview
from mirror.models import AttachedFile, Message
from mirror.states import LIVE_DECISIONS, DecisionState
from mirror.store import stored_content
from mirror.terms import BACK_BEFORE

MOST_COMMENTS = 50
MOST_LINES = 12
# Entries shown as comments, or not of interest to others.
_HIDDEN_ACTIONS = ("comment.added", "snooze.set", "snooze.ended", "claim.released")


@dataclass(frozen=True)
class HistoryLine:
    """One line of a message's history: an entry of the ledger, or a comment."""

    at: datetime
    line: Entry | None = None
    comment: Comment | None = None


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
        own_zone = str(getattr(request.user, "time_zone", "UTC"))
        latest = message.expires_at - BACK_BEFORE if message.expires_at else None
        snooze_choices = {
            "zone": str(zone_of(own_zone)),
            "is_own_zone": own_zone != "UTC",
            "latest": latest,
            "is_too_late": latest is not None and latest <= now,
        }
    entries = Entry.objects.of_message(message.public_id).without_steps()
    entries = entries.exclude(action__in=_HIDDEN_ACTIONS).newest_first()
    history = [HistoryLine(one.at, line=one) for one in lines(entries[:MOST_LINES])]
    open_question = None
    if "comment.added" in happened:
        open_question = (
            Question.objects.on(message).of_person(person).with_comments().first()
        )
        for comment in message.comments.newest_first()[:MOST_COMMENTS]:
            history.append(HistoryLine(comment.created_at, comment=comment))
    return {
        "claim": claim,
        "has_claim": claim is not None and claim.person_id == person,
        "waits": waits,
        "may_claim": waits and is_reviewer(actor, message),
        "may_comment": may_handle(actor, message),
        "snooze": snooze,
        "snooze_choices": snooze_choices,
        "history": sorted(history, key=lambda one: one.at, reverse=True),
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
