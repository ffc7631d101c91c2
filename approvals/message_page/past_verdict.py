"""A past verdict as it was given: the letter of that version, the findings and the ruling of that moment, and by whom.

Nothing here is worked out anew: what the desk would say today stands on the message's own page.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.message_page.content.opening import note_served
from approvals.message_page.content.rendered_cache import letter_of
from approvals.message_page.content.source import stretch_of
from approvals.message_page.sheet import TWIN
from approvals.message_page.views import find_message, is_ahead_of_reading
from approvals.models import Verdict
from approvals.queue.pane import unseen_fields
from audit.models import Entry
from audit.recording import record
from audit.trail import Line, first_at, lines
from common.pages import DeskRequest
from mirror.models import Message
from mirror.store import stored_content
from people.actors import Actor


@dataclass(frozen=True)
class Given:
    """What the ledger tells of a verdict beside the verdict itself."""

    line: Line | None
    opened_at: datetime | None

    @property
    def address(self) -> str:
        """From where it was given; empty where nobody knows any more."""
        return self.line.details.get("address", "") if self.line else ""


@login_required
@require_safe
def seen_decision(request: DeskRequest, public_id: UUID, verdict_id: int) -> HttpResponse:
    """Show one verdict as it was given. That somebody looked at it is noted, as it is of a message."""
    message, verdict = _find(request.actor, public_id, verdict_id)
    if request.method != "HEAD" and not is_ahead_of_reading(request):
        _note_seen_again(message, verdict, request.actor)
    content = stored_content(verdict.revision)
    letter = letter_of(verdict.revision, content)
    context: dict[str, Any] = {
        "message": message,
        "verdict": verdict,
        "seen": verdict.seen,
        "revision": verdict.revision,
        "content": content,
        "unseen": unseen_fields(content),
        "has_changed": message.revision_id != verdict.revision_id,
        "newer": message.revision,
        "given": _told(message, verdict),
        "twin": stretch_of(letter.read or letter.text, page=1, size=TWIN),
        "now": timezone.now(),
    }
    return render(request, "approvals/seen_decision.html", context)


@login_required
@require_safe
def seen_body(request: DeskRequest, public_id: UUID, verdict_id: int) -> HttpResponse:
    """Answer the framed mail of that version, under the same policy as the current one."""
    message, verdict = _find(request.actor, public_id, verdict_id)
    if request.method != "HEAD":
        note_served(message, actor=request.actor, fingerprint=verdict.revision.fingerprint)
    response = HttpResponse(letter_of(verdict.revision).document)
    response.is_mail_frame = True  # type: ignore[attr-defined]
    return response


def _find(actor: Actor, public_id: UUID, verdict_id: int) -> tuple[Message, Verdict]:
    message = find_message(actor, public_id)
    verdict = message.verdicts.select_related("revision", "person").filter(pk=verdict_id).first()
    if verdict is None:
        raise Http404("Nobody gave such a verdict on this message.")
    return message, verdict


def _told(message: Message, verdict: Verdict) -> Given:
    """Find the verdict's entry: by the number that it tells, or where that is older than the number, by its act."""
    version, person = verdict.revision.fingerprint, str(verdict.person_id)
    told = Entry.objects.of_message(message.public_id).of_person(verdict.person_id).of_action("verdict.given")
    found = [line for line in lines(told.oldest_first()) if line.entry.fingerprint == version]
    named = [line for line in found if line.details.get("verdict") == str(verdict.pk)]
    line = named[0] if named else found[0] if len(found) == 1 else None
    opened = first_at(message=message.public_id, action="message.opened", actor_id=person, fingerprint=version)
    return Given(line, opened)


@transaction.atomic
def _note_seen_again(message: Message, verdict: Verdict, actor: Actor) -> None:
    record(
        "ledger.seen_again",
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=verdict.revision.fingerprint,
        details={"verdict": str(verdict.pk), "given_by": str(verdict.person)},
        words=message.ledger_words(),
    )
