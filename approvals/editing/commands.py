"""Commands for editing a held message: replace it by an edited version, suggest the
edited text to its agent, or finish a replacement that stopped half-way. It also says
whether a message can be edited, and describes what an edit changed.

Nothing is sent here. The edit is stored as a `Replacement` row, and a worker makes the
calls to MultiMail (`send.py`).
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils.text import get_text_list

from approvals import tasks
from approvals.authorship import note_words
from approvals.decisions.decide import give_verdict, who_was_first
from approvals.decisions.forms import MAX_REASON, MAX_SUGGESTION
from approvals.decisions.ruling import (
    Ruling,
    check_content,
    lock_for_reviewer,
    lock_visible,
    ruling_of,
)
from approvals.decisions.shown import attached_files
from approvals.errors import AlreadyDecided, EditNotPossible, VerdictNotAllowed
from approvals.models import Decision, Replacement
from common.actors import Actor
from common.fingerprint import Content, normalise_address
from common.postgres import atomic_with_retry
from mirror.models import AttachedFile, Message
from mirror.recording import record_about
from mirror.states import Outcome
from mirror.store import stored_content

# If its mailbox has one of these oversight modes, hosted MultiMail would send the
# edited version without review.
_UNREVIEWED = ("monitored", "autonomous")
# The fields that an edited version lacks if the desk cannot see them, in words.
_LOSES = {
    "cc": "Cc",
    "bcc": "Bcc",
    "reply_to": "Reply-To",
    "attachments": "attached files",
}


@dataclass(frozen=True)
class Editability:
    """Whether a message can be replaced by an edited version. `why_not` says why it
    cannot and what to do instead, and is empty if it can.

    `may_suggest` says whether an edited text can at least be suggested to the agent.
    `notes` are sentences about what the edited version loses.
    """

    why_not: str
    may_suggest: bool = False
    notes: tuple[str, ...] = ()


def editability(
    message: Message,
    content: Content | None,
    *,
    ruling: Ruling,
    files: Sequence[AttachedFile],
) -> Editability:
    """Return whether a message can be edited now, by the person of the ruling; `files`
    are the attached files of its current version.
    """
    if message.is_inbound:
        return Editability("Received mail cannot be edited: release it, or reject it.")
    if content is None or not ruling.may_reject:
        return Editability(ruling.reasons[0])
    if content.markdown is None:
        return Editability(
            "It has only HTML and no text to edit. Request changes instead."
        )
    notes = []
    if unseen := [words for name, words in _LOSES.items() if name in content.unseen]:
        notes.append(
            f"Not visible with this connection's keys: {', '.join(unseen)}. The edited version has only what is shown "
            "here."
        )
    if content.html is not None:
        notes.append(
            "It has an HTML version of its own. If you change the text, its HTML is made from your text."
        )
    if content.in_reply_to and not message.connection.is_our_gateway:
        notes.append(
            "It is a reply. MultiMail starts a new thread with the edited version."
        )
    why_not = set_up_problem(message) or _files_problem(content, files)
    if ruling.is_expired or ruling.contributors.is_other_sent:
        why_not = (
            "It can no longer be approved, and nor can an edited version. Reject it."
        )
    return Editability(why_not, may_suggest=True, notes=tuple(notes))


def set_up_problem(message: Message) -> str:
    """Return why the message's connection or mailbox cannot send an edited version for
    review, as sentences; empty if it can.
    """
    connection = message.connection
    mailbox = message.mailbox
    if mailbox is None:
        return "Its mailbox is not known, so an edited version cannot be sent. Request changes instead."
    put_in = f"An admin can enter an agent key of {connection} that may send and read, under Connections."
    if not connection.agent_key:
        return f"Sending an edited version needs an agent key, and this connection has none. {put_in}"
    scopes = connection.key_scopes.get("agent")
    if scopes is not None and "send" not in scopes:
        return f"The agent key of this connection may not send. {put_in}"
    is_sandbox_key = connection.agent_key.startswith("mm_test_")
    if is_sandbox_key and not message.sandbox:
        return f"The agent key of this connection is a sandbox key: nobody would get the message. {put_in}"
    if message.sandbox and not is_sandbox_key:
        return "This is a test message, and the agent key sends real mail. Request changes instead."
    if mailbox.oversight_mode == "read_only":
        return f"{mailbox} is read only: nothing can be sent from it. Reject the message instead."
    if mailbox.oversight_mode in _UNREVIEWED and not connection.is_our_gateway:
        return f"{mailbox} now sends without review, so an edited version would be sent at once. Request changes."
    return ""


def _files_problem(content: Content, files: Sequence[AttachedFile]) -> str:
    # Why the attached files cannot be sent again, as a sentence; empty if they can.
    if len(files) < len(content.attachments):
        return "It has more attachments than this desk fetches, so they cannot be included. Request changes."
    for file in files:
        if file.differs:
            return (
                f"{file.name} does not match the fingerprint, so it cannot be included."
            )
        if file.state != AttachedFile.State.FETCHED:
            return f"{file.name} is {file.get_state_display()}, so it cannot be included. Request changes instead."
    return ""


_LABELS = {"to": "To", "cc": "Cc", "bcc": "Bcc", "subject": "Subject"}
# How many characters of a difference the ledger stores; both versions are stored whole.
MAX_DIFFERENCE = 50_000
# The most lines of both texts together that are compared: the time grows with the
# square of their number.
MOST_LINES = 6_000


def changed_fields(first: Content, edited: Replacement) -> list[dict[str, str]]:
    """Return the header fields that differ, each as a dict of `field`, `before` and
    `after`. Recipients are joined to one line.
    """
    changes = []
    for name in _LABELS:
        before = _one_line(getattr(first, name))
        after = _one_line(getattr(edited, name))
        if before != after:
            changes.append({"field": name, "before": before, "after": after})
    return changes


def _one_line(value: str | Sequence[str]) -> str:
    """Return a subject as it is, and addresses in the form in which fingerprints
    compare them, separated by commas.
    """
    return value if isinstance(value, str) else ", ".join(map(normalise_address, value))


def is_text_changed(first: Content, markdown: str) -> bool:
    """Whether the text of the body differs, apart from line endings and blanks at its
    end.
    """
    return (first.markdown or "").replace("\r\n", "\n").rstrip() != markdown.rstrip()


def difference_in_words(first: Content, edited: Replacement) -> str:
    """Return all changes as text for the ledger: header fields before and after, and
    the changed lines of the body.
    """
    lines = [
        f"{_LABELS[one['field']]}: {one['before'] or 'nobody'} → {one['after'] or 'nobody'}"
        for one in changed_fields(first, edited)
    ]
    if is_text_changed(first, edited.markdown):
        before = (first.markdown or "").splitlines()
        after = edited.markdown.splitlines()
        if len(before) + len(after) > MOST_LINES:
            lines.append(
                "The text was changed; it has too many lines to show which. Both versions are kept whole."
            )
        else:
            lines += difflib.unified_diff(
                before, after, "first version", "edited version", lineterm="", n=1
            )
    text = "\n".join(lines)
    return text if len(text) <= MAX_DIFFERENCE else f"{text[:MAX_DIFFERENCE]}\n[cut]"


def reason_of(first: Content, edited: Replacement) -> str:
    """Return the reason with which the first message is rejected. Its agent gets it."""
    parts = [
        "subject" if one["field"] == "subject" else "recipients"
        for one in changed_fields(first, edited)
    ]
    if is_text_changed(first, edited.markdown):
        parts.append("text")
    changed = get_text_list([f"the {part}" for part in dict.fromkeys(parts)], "and")
    note = f" {edited.note}" if edited.note else ""
    return (
        f"Replaced by {edited.upstream_id}: {edited.person} edited {changed} and sent it for review. "
        f"Do not send it again.{note}{fields_in_words(first, edited)}"
    )[:MAX_REASON]


def fields_in_words(first: Content, edited: Replacement) -> str:
    """Return the changed header fields with their new values, one on each line; long
    values are cut.
    """
    return "".join(
        f"\n{_LABELS[one['field']]} is now: {one['after'][:200] or 'nobody'}"
        for one in changed_fields(first, edited)
    )


def suggestion_of(first: Content, edited: Replacement) -> dict[str, Any]:
    """Return the changes as data for the agent: `suggested_markdown` if the text
    changed and is not too long, and `changes` if header fields did.
    """
    feedback: dict[str, Any] = {}
    if (
        is_text_changed(first, edited.markdown)
        and len(edited.markdown) <= MAX_SUGGESTION
    ):
        feedback["suggested_markdown"] = edited.markdown
    if changes := changed_fields(first, edited):
        feedback["changes"] = changes
    return feedback


@atomic_with_retry
def replace_message(
    *,
    message: UUID,
    actor: Actor,
    fingerprint: str,
    reference: str,
    content: Mapping[str, Any],
    links: Collection[str],
    note: str,
) -> Replacement:
    """Store an edited version of a held message, enqueue that it replaces the message,
    and return its row.

    `reference` identifies the press of the button: if it is repeated, the row of the
    first press is returned. `content` has the edited fields, `links` the links that
    they added (`added_links`), `note` is for the agent.

    Raises VerdictNotAllowed if the person may not decide the message, AlreadyDecided if
    it is decided or being edited, ContentChanged if it is not the version that was
    shown, and EditNotPossible if it cannot be replaced or nothing was changed.
    """
    locked = lock_visible(message, actor)
    same_press = locked.replacements.filter(
        reference=reference, person_id=actor.person_id
    )
    if (row := same_press.first()) is not None:
        return row
    # MultiMail may have sent one that was approved, also if it came back.
    approved = locked.decisions.applied_as(Outcome.APPROVE)
    decision = Decision.objects.in_force_on(locked).first() or approved.first()
    if decision is not None:
        raise AlreadyDecided(who_was_first(decision), decision=decision)
    if (
        other := locked.replacements.open().select_related("person").first()
    ) is not None:
        raise AlreadyDecided(
            f"{other.person} has already edited this message, and the edited version is being sent."
        )
    ruling = ruling_of(locked, actor)
    if not ruling.may_reject:
        raise VerdictNotAllowed(ruling.reasons[0])
    revision = check_content(locked, fingerprint)
    first = stored_content(revision)
    possible = editability(locked, first, ruling=ruling, files=attached_files(locked))
    if possible.why_not:
        raise EditNotPossible(possible.why_not)
    contributors = ruling.contributors
    row = Replacement(
        message=locked,
        revision=revision,
        root_id=contributors.root or locked.pk,
        connection=locked.connection,
        person_id=actor.person_id,
        editors=sorted({actor.person_id, *contributors.editors}),
        authors=sorted(contributors.authors),
        note=note,
        reference=reference,
        **content,
    )
    if not changed_fields(first, row) and not is_text_changed(first, row.markdown):
        raise EditNotPossible("Nothing was changed, so there is nothing to send.")
    row.save()
    _note_words(actor, row, links, locked)
    record_about(
        "message.edit_asked",
        locked,
        actor,
        fingerprint=fingerprint,
        details={
            "subject": locked.subject,
            "changes": difference_in_words(first, row),
            "note": note,
        },
        about=row,
    )
    tasks.send_replacement.delay_on_commit(row.pk)
    return row


def _note_words(
    actor: Actor, edited: Replacement, links: Collection[str], about: Message
) -> None:
    note_words(
        actor,
        edited.subject,
        edited.markdown,
        recipients=(*edited.to, *edited.cc, *edited.bcc),
        links=links,
        about=about,
    )


@atomic_with_retry
def suggest_changes(
    *,
    message: UUID,
    actor: Actor,
    fingerprint: str,
    first: Content,
    content: Mapping[str, Any],
    links: Collection[str],
    note: str,
) -> None:
    """Request changes from the agent, with the edited text as a suggestion.

    `first` is the content that was edited, `links` are those that were added. Raises
    EditNotPossible if nothing was changed or the text is too long, and the errors of
    `give_verdict`.
    """
    row = Replacement(note=note, **content)
    feedback = suggestion_of(first, row)
    has_new_text = is_text_changed(first, row.markdown)
    if not feedback and not has_new_text:
        raise EditNotPossible("Nothing was changed, so there is nothing to suggest.")
    if has_new_text and "suggested_markdown" not in feedback:
        raise EditNotPossible(
            f"The text is too long to be suggested: keep it under {MAX_SUGGESTION:,} characters."
        )
    given = give_verdict(
        message=message,
        actor=actor,
        outcome=Outcome.SEND_BACK,
        fingerprint=fingerprint,
        reason=f"{note}{fields_in_words(first, row)}"[:MAX_REASON],
        feedback=feedback,
    )
    _note_words(actor, row, links, given.verdict.message)


@transaction.atomic
def finish_replacement(*, message: UUID, actor: Actor) -> None:
    """Have a worker finish a replacement that stopped half-way, so that both messages
    are held. The message may be either of the two.

    Raises VerdictNotAllowed if the actor is no reviewer of its mailbox, EditNotPossible
    if there is nothing to finish.
    """
    locked = lock_for_reviewer(message, actor, to="finish this")
    half_done = (
        locked.replacements.left_half().first()
        or Replacement.objects.that_made([locked]).left_half().first()
    )
    row = (
        Replacement.objects.select_for_update(of=("self",))
        .filter(pk=half_done.pk)
        .first()
        if half_done
        else None
    )
    if row is None or row.state == Replacement.State.UNKNOWN:
        raise EditNotPossible("There is nothing left to finish. Check both messages.")
    # If the first message was rejected and that was undone or refused, it is rejected
    # once more.
    state = Replacement.State.SENT if row.upstream_id else Replacement.State.SENDING
    Replacement.objects.move(
        row, to=state, next_attempt_at=Now(), lease_until=None, problem=""
    )
    # Whether the first message has changed since it was edited is found out when the
    # worker rejects it.
    record_about(
        "message.edit_finished",
        locked,
        actor,
        details={"subject": locked.subject},
        about=row,
    )
    tasks.send_replacement.delay_on_commit(row.pk)
