"""Commands of the person who edits: send a corrected message in place of a held one,
suggest a text, finish.

Nothing is sent here: the row is stored with its reference, and a worker makes the calls
(`send.py`).
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from approvals import local_messages, tasks
from approvals.decisions.decide import VerdictResult, give_verdict, who_was_first
from approvals.decisions.forms import MAX_REASON, MAX_SUGGESTION
from approvals.decisions.ruling import (
    content_changed,
    lock_for_reviewer,
    lock_visible,
    rulings,
)
from approvals.decisions.shown import attached_files
from approvals.editing.checks import editability
from approvals.editing.words import (
    changed_fields,
    difference_in_words,
    fields_in_words,
    is_text_changed,
    suggestion_of,
    summary,
)
from approvals.errors import AlreadyDecided, EditNotPossible, VerdictNotAllowed
from approvals.models import Replacement
from common.actors import Actor
from common.fingerprint import Content
from common.postgres.retry import atomic_with_retry
from mirror.recording import record_about
from mirror.states import LIVE_DECISIONS, Outcome
from mirror.store import stored_content


@atomic_with_retry
def replace_message(
    *,
    message: UUID,
    actor: Actor,
    fingerprint: str,
    reference: str,
    content: Mapping[str, Any],
    note: str,
) -> Replacement:
    """Store a corrected copy of a held message, to be sent as a new held one, and
    return it.

    `reference` identifies the press: the same one again returns the same row. A
    local message ends with it, and the row is not stored. Raises VerdictNotAllowed
    where the person may not decide the message, AlreadyDecided where somebody did or
    edits it, ContentChanged where it is not the one that was shown any more, and
    EditNotPossible where it cannot be sent from here, or nothing was changed.
    """
    locked = lock_visible(message, actor=actor)
    known = Replacement.objects.filter(reference=reference).first()
    if known is not None and (known.message_id, str(known.person_id)) == (
        locked.pk,
        actor.id,
    ):
        return known
    decision = (
        locked.decisions.filter(state__in=LIVE_DECISIONS)
        .select_related("given_by")
        .first()
    )
    if decision is not None:
        raise AlreadyDecided(who_was_first(decision), decision=decision)
    if (
        other := locked.replacements.open().select_related("person").first()
    ) is not None:
        raise AlreadyDecided(
            f"{other.person} has already edited this message, and the edited version is being sent."
        )
    ruling = rulings([locked], actor)[locked.pk]
    if not ruling.may_reject:
        raise VerdictNotAllowed(ruling.reasons[0])
    if locked.revision is None or locked.revision.fingerprint != fingerprint:
        raise content_changed(locked, fingerprint)
    first = stored_content(locked.revision)
    possible = editability(locked, first, ruling=ruling, files=attached_files(locked))
    if possible.why_not:
        raise EditNotPossible(possible.why_not)
    contributors = ruling.facts.contributors
    row = Replacement(
        message=locked,
        revision=locked.revision,
        connection=locked.connection,
        person_id=int(actor.id),
        editors=sorted({int(actor.id), *contributors.editors}),
        authors=sorted(contributors.authors),
        note=note,
        reference=reference,
        **content,
    )
    if summary(first, row) == "nothing":
        raise EditNotPossible("Nothing was changed, so there is nothing to send.")
    if locked.is_local:
        # Whoever corrects it has seen what is wrong, or at least sends nothing of it.
        local_messages.feature().answer(
            locked,
            actor=actor,
            outcome=Outcome.SEND_BACK,
            reason=note,
            seconds_shown=None,
        )
        return row
    row.save()
    details = {
        "subject": locked.subject,
        "changes": difference_in_words(first, row),
        "note": note,
    }
    record_about(
        "message.edit_asked",
        locked,
        actor=actor,
        fingerprint=fingerprint,
        details=details,
        about=row,
    )
    tasks.send_replacement.delay_on_commit(row.pk)
    return row


def suggest_changes(
    *,
    message: UUID,
    actor: Actor,
    fingerprint: str,
    first: Content,
    content: Mapping[str, Any],
    note: str,
) -> VerdictResult:
    """Request changes of the agent, with the corrected text as data and as words.
    Raises as `give_verdict`.

    `first` is the content that was corrected. Raises EditNotPossible where nothing was
    changed.
    """
    row = Replacement(note=note, **content)
    if not changed_fields(first, row) and not is_text_changed(first, row):
        raise EditNotPossible("Nothing was changed, so there is nothing to suggest.")
    feedback = suggestion_of(row, first)
    if is_text_changed(first, row) and "suggested_markdown" not in feedback:
        raise EditNotPossible(
            f"The text is too long to be suggested: keep it under {MAX_SUGGESTION:,} characters."
        )
    return give_verdict(
        message=message,
        actor=actor,
        outcome=Outcome.SEND_BACK,
        fingerprint=fingerprint,
        reason=f"{note}{fields_in_words(first, row)}"[:MAX_REASON],
        feedback=feedback,
    )


@transaction.atomic
def finish_replacement(*, message: UUID, actor: Actor) -> Replacement:
    """Have a worker go on with the newest edit of this message, or the one that made
    it: reject the first one.

    Raises VerdictNotAllowed for people who are no reviewers of its mailbox,
    EditNotPossible where nothing is to finish.
    """
    locked = lock_for_reviewer(message, actor=actor, to="finish this")
    ours = (
        locked.replacements.left_half().first()
        or Replacement.objects.that_made([locked]).left_half().first()
    )
    row = (
        Replacement.objects.select_for_update(of=("self",)).filter(pk=ours.pk).first()
        if ours
        else None
    )
    if row is None or row.state == Replacement.State.UNKNOWN:
        raise EditNotPossible("There is nothing left to finish. Check both messages.")
    # A rejection that was undone or refused is given once more.
    state = Replacement.State.SENT if row.upstream_id else Replacement.State.SENDING
    Replacement.objects.move(
        row, to=state, next_attempt_at=Now(), lease_until=None, problem=""
    )
    # What the first message was edited from may have changed since: finishing says so.
    record_about(
        "message.edit_finished",
        locked,
        actor=actor,
        details={"subject": locked.subject},
        about=row,
    )
    tasks.send_replacement.delay_on_commit(row.pk)
    return row
