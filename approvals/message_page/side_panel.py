"""What stands at a message beside the letter: who has it, who reads it, what was said, and what may be done with it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from approvals.collaboration.comments import MAX_COMMENT, OFFERED, Known, may_comment, people_around
from approvals.collaboration.forms import tomorrow_morning, zone_of
from approvals.collaboration.presence import readers_of
from approvals.decisions.ruling import is_reviewer
from approvals.decisions.shown import Part, key_of, unread_parts
from approvals.models import Claim, Comment, OpenedPart, Question, Snooze
from approvals.querysets.messages import awaits_review
from audit.models import Entry
from audit.trail import Line, lines
from common.pages import DeskRequest
from mirror.attachments.preview import ShownFile, shown_file
from mirror.models import AttachedFile, Message
from mirror.querysets import BACK_BEFORE
from mirror.store import stored_content
from mirror.threads.conversation import Conversation, conversation_of
from people.actors import Actor

MOST_COMMENTS, MOST_LINES = 50, 12
# Told by the comments themselves, or nobody else's business.
_NOT_TOLD = ("comment.added", "snooze.set", "snooze.ended", "claim.released")


@dataclass(frozen=True)
class Told:
    """One line of a message's history: what the ledger tells, or what somebody said."""

    at: datetime
    line: Line | None = None
    comment: Comment | None = None


@dataclass(frozen=True)
class PutOffChoices:
    """The times on offer, and why a message cannot be put off; `zone` is the one that they are meant in."""

    zone: str
    is_own_zone: bool
    tomorrow: datetime
    latest: datetime | None
    why_not: str = ""


def beside_context(request: DeskRequest, message: Message) -> dict[str, Any]:
    """Return what the bar and the acts show of who has it, and what may be done with it."""
    actor: Actor = request.actor
    claim = Claim.objects.on(message).live().select_related("person").first()
    waits = awaits_review(message.pk)
    return {
        "claim": claim,
        "has_claim": claim is not None and str(claim.person_id) == actor.id,
        "readers": readers_of(message, actor=actor) if waits else [],
        "waits": waits,
        "may_claim": waits and is_reviewer(actor, message),
        "may_comment": may_comment(actor, message),
        "snooze": Snooze.objects.on(message).of_person(int(actor.id)).in_force().first() if waits else None,
        "put_off_choices": _choices(request, message) if waits else None,
    }


def said_context(request: DeskRequest, message: Message) -> dict[str, Any]:
    """Return what was done and said, newest first, and whom a comment can be for."""
    actor: Actor = request.actor
    question = Question.objects.on(message).of_person(int(actor.id)).with_comments().first()
    return {
        "story": _story(message),
        "question": question,
        "max_comment": MAX_COMMENT,
        "people": [one for one in _people(message, actor) if str(one.id) != actor.id],
    }


def _choices(request: DeskRequest, message: Message) -> PutOffChoices:
    # Only what is offered: whether a time is still to come is asked of the database when it is chosen.
    own = str(getattr(request.user, "time_zone", "UTC"))
    zone, now = zone_of(own), timezone.now()
    latest = message.expires_at - BACK_BEFORE if message.expires_at else None
    why_not = "It expires within the hour, so it stays where everybody sees it." if latest and latest <= now else ""
    return PutOffChoices(str(zone), own != "UTC", tomorrow_morning(now, zone), latest, why_not)


def _people(message: Message, actor: Actor) -> list[Known]:
    return people_around(message)[: OFFERED + 1] if may_comment(actor, message) else []


def _story(message: Message) -> list[Told]:
    entries = Entry.objects.of_message(message.public_id).without_steps().exclude(action__in=_NOT_TOLD)
    told = [Told(line.entry.at, line=line) for line in lines(entries.newest_first()[:MOST_LINES])]
    said = [Told(one.created_at, comment=one) for one in message.comments.newest_first()[:MOST_COMMENTS]]
    return sorted([*told, *said], key=lambda one: one.at, reverse=True)


def parts_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return what the page needs to know of the parts: the files, the thread, and those that were not opened."""
    conversation = conversation_of(message)
    return {**_files(message, actor), "conversation": conversation, **_unread(message, actor, conversation)}


def files_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return what the panel of files shows alone."""
    content = stored_content(message.revision) if message.revision else None
    return {"message": message, "content": content, **_files(message, actor)}


def thread_context(message: Message) -> dict[str, Any]:
    """Return what the thread shows alone."""
    return {"message": message, "conversation": conversation_of(message), "is_open": True}


def unread_context(message: Message, actor: Actor) -> dict[str, Any]:
    """Return what the words beside the decision say of parts that were not opened."""
    conversation = conversation_of(message)
    return {"message": message, "conversation": conversation, **_unread(message, actor, conversation)}


def _files(message: Message, actor: Actor) -> dict[str, Any]:
    if message.revision is None or not message.revision.content.get("attachments"):
        return {"files": [], "files_that_lie": [], "not_kept": [], "files_wait": False}
    files = list(AttachedFile.objects.filter(revision=message.revision).without_bytes().in_place())
    opened = OpenedPart.objects.of(message, person=int(actor.id))
    shown: list[ShownFile] = [shown_file(file, is_opened=key_of(file) in opened) for file in files]
    return {
        "files": shown,
        # What only the bytes gave away: what the names do stands among the findings.
        "files_that_lie": [one for one in shown if one.file.differs or one.serious],
        # Beyond as many as anybody reads, and of mail that was past the desk before files were fetched.
        "not_kept": stored_content(message.revision).attachments[len(files) :],
        "files_wait": message.state == "held" and any(one.is_waiting for one in shown),
    }


def _unread(message: Message, actor: Actor, conversation: Conversation) -> dict[str, Any]:
    unread: list[Part] = unread_parts(message, person=int(actor.id), conversation=conversation)
    return {"unread": unread, "links_are_unread": any(part.anchor == "links" for part in unread)}
