"""The panel beside a message: claims, history and comments, attachments, and unopened parts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db.models import TextField, Value
from django.db.models.functions import Coalesce, NullIf
from django.utils import timezone

from approvals.collaboration.comments import MAX_COMMENT, may_comment
from approvals.collaboration.forms import zone_of
from approvals.decisions.ruling import is_reviewer
from approvals.decisions.shown import (
    UnreadPart,
    attached_files,
    file_name,
    key_of,
    unread_parts,
    viewed_names,
)
from approvals.desk_messages import awaits_review_part
from approvals.models import Claim, Comment, OpenedPart, Question, Snooze
from approvals.usual_texts.texts import Kind, presets_from, presets_part
from audit.models import Entry
from audit.trail import Line, line_of
from common.actors import Actor
from common.pages import DeskRequest
from common.postgres.statements import ANY, ANY_ID, ASKING, RowQuery, ValueQuery, any_of, list_of, read_values
from mirror.attachments.preview import preview_of
from mirror.models import AttachedFile, Message
from mirror.states import MessageState
from mirror.store import stored_content
from mirror.terms import BACK_BEFORE
from mirror.threads.conversation import conversation_of

MOST_COMMENTS, MOST_LINES = 50, 12
# Entries shown as comments, or not of interest to others.
_HIDDEN_ACTIONS = ("comment.added", "snooze.set", "snooze.ended", "claim.released")


@dataclass(frozen=True)
class HistoryLine:
    """One line of a message's history: an entry of the ledger, or a comment."""

    at: datetime
    line: Line | None = None
    comment: Comment | None = None


def panel_parts(message: Message, actor: Actor) -> dict[str, ValueQuery]:
    """Return how to ask what the side panel shows of a message, as far as it is a flag or a short list."""
    parts = _panel_parts()
    named = {ANY: message.pk, ASKING: int(actor.id)}
    return {
        **{name: part.with_values(named) for name, part in parts.items()},
        "waits": awaits_review_part(message.pk),
        "usual_texts": presets_part(message.mailbox_id),
    }


@cache
def _panel_parts() -> dict[str, ValueQuery]:
    mine = {"message": ANY, "person": ASKING}
    asker = Coalesce(NullIf("comment__person__name", Value("")), "comment__person__email", output_field=TextField())
    return {
        "is_claimed": any_of(Claim.objects.filter(message=ANY).live()),
        "is_commented": any_of(Comment.objects.filter(message=ANY)),
        "snoozed_until": list_of(Snooze.objects.filter(**mine).in_force().values_list("until")),
        "asked_by": list_of(Question.objects.filter(**mine).values_list(asker)),
    }


def panel_context(request: DeskRequest, message: Message, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the claim, the possible actions, and the history."""
    actor: Actor = request.actor
    facts = read_values(panel_parts(message, actor)) if facts is None else facts
    claim = Claim.objects.on(message).select_related("person").first() if facts["is_claimed"] else None
    waits = facts["waits"]
    return {
        "claim": claim,
        "has_claim": claim is not None and str(claim.person_id) == actor.id,
        "waits": waits,
        "may_claim": waits and is_reviewer(actor, message),
        "may_comment": may_comment(actor, message),
        "snoozed_until": next(iter(facts["snoozed_until"] or ()), None) if waits else None,
        "snooze_choices": _snooze_choices(request, message) if waits else None,
        "history": _history(message, is_commented=facts["is_commented"]),
        "asked_by": next(iter(facts["asked_by"] or ()), ""),
        "max_comment": MAX_COMMENT,
        "saved_comments": presets_from(facts["usual_texts"])[Kind.COMMENT],
    }


def _snooze_choices(request: DeskRequest, message: Message) -> dict[str, Any]:
    """Return the time zone in which times are written, the latest of them, and why a message cannot be snoozed."""
    # Only offered: the chosen time is checked by the database's clock.
    own = str(getattr(request.user, "time_zone", "UTC"))
    latest = message.expires_at - BACK_BEFORE if message.expires_at else None
    is_late = latest is not None and latest <= timezone.now()
    why_not = "It expires within an hour, so it cannot be snoozed." if is_late else ""
    return {"zone": str(zone_of(own)), "is_own_zone": own != "UTC", "latest": latest, "why_not": why_not}


def _history(message: Message, *, is_commented: bool) -> list[HistoryLine]:
    recorded = [HistoryLine(one.at, line=line_of(one)) for one in _entries().read({ANY_ID: message.public_id})]
    comments = message.comments.newest_first()[:MOST_COMMENTS] if is_commented else []
    posted = [HistoryLine(one.created_at, comment=one) for one in comments]
    return sorted([*recorded, *posted], key=lambda one: one.at, reverse=True)


@cache
def _entries() -> RowQuery[Entry]:
    shown = Entry.objects.of_message(ANY_ID).without_steps().exclude(action__in=_HIDDEN_ACTIONS)
    return RowQuery(shown.with_details().newest_first()[:MOST_LINES])


def files_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return the context of the attachments panel."""
    content = stored_content(message.revision) if message.revision else None
    files = attached_files(message)
    opened = OpenedPart.objects.of(message, person=int(actor.id)) if files else set()
    context = {"message": message, "content": content, "ticks": ticks_shown(message, opened, actor=actor)}
    return context | files_shown(message, files, opened)


def ticks_shown(message: Message, opened: Collection[str], *, actor: Actor) -> set[str] | None:
    """Return the names of the files and findings that the actor ticked; None where there is nothing to tick.

    Those who may decide can tick, while the message is held.
    """
    may_tick = message.state == MessageState.HELD and is_reviewer(actor, message)
    return viewed_names(message, opened) if may_tick else None


def unread_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return the context of the note about unopened parts."""
    conversation = conversation_of(message)
    opened = OpenedPart.objects.of(message, person=int(actor.id))
    unread = unread_parts(message, conversation=conversation, files=attached_files(message), opened=opened)
    return {"message": message, "conversation": conversation, **unread_shown(unread)}


def unread_shown(unread: Sequence[UnreadPart]) -> dict[str, Any]:
    """Return parts that were not opened, and whether the links are among them."""
    return {"unread": unread, "links_are_unread": any(part.anchor == "links" for part in unread)}


def files_shown(message: Message, files: Sequence[AttachedFile], opened: Collection[str]) -> dict[str, Any]:
    """Return how the attached files of a message are shown."""
    shown = [preview_of(file, name=file_name(file), is_opened=key_of(file) in opened) for file in files]
    listed = stored_content(message.revision).attachments if message.revision else ()
    return {
        "files": shown,
        # Only what the bytes reveal; what the names reveal is among the findings.
        "files_that_lie": [one for one in shown if one.file.differs or one.serious],
        # Beyond the limit of stored files, or of a message that was decided before files were fetched.
        "not_stored": listed[len(files) :],
        "files_wait": message.state == "held" and any(one.is_waiting for one in shown),
    }
