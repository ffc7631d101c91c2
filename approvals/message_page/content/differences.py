"""What changed between two versions of a message: field by field, word by word inside
texts, file by file.

A field is compared only if the desk could read it in both versions. Two contents with
different fingerprints always have a change. An edit by a reviewer makes a new message,
so the changes of an edited message are found here too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from approvals.desk_messages import latest_decision
from approvals.message_page.content.source import NAMES
from approvals.message_page.content.word_diff import (
    MAX_SHOWN,
    Effort,
    Piece,
    compare,
    disguises,
    shown_pieces,
)
from approvals.models import Decision, Replacement
from approvals.models.replacements import edit_of
from common.fingerprint import (
    FIELDS,
    Attachment,
    Content,
    normalise_address,
    short_fingerprint,
)
from mirror.models import Message, Revision
from mirror.states import VOID, DecisionState, Outcome
from mirror.store import stored_content
from rendering.invisibles import Tally

_LABELS = {
    **NAMES,
    "from_name": "Sender name",
    "markdown": "Message",
    "html": "Message as HTML",
    "in_reply_to": "In reply to",
    "send_at": "Send at",
}
# How many removed, and how many added, addresses or files of a field are shown.
MAX_VALUES = 100


@dataclass(frozen=True)
class Change:
    """What changed in one field. For the field "additions", which MultiMail adds on
    sending, `addition` names the one that changed.

    Addresses and files have `removed` and `added`, texts have `pieces`. `left_out` is
    how many changed characters are not shown.
    """

    field: str
    label: str
    addition: str = ""
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: int = 0


def difference(before: Content, after: Content) -> tuple[Change, ...]:
    """Return what changed from `before` to `after`, in the order of the fields."""
    effort = Effort()
    tally = Tally()
    changes = []
    for name in FIELDS:
        was_covered = name in before.coverage
        is_covered = name in after.coverage
        if was_covered != is_covered:
            note = (
                "Visible now but not before, so it may have changed. Read it as new."
                if is_covered
                else "No longer visible with this key, so it may have changed."
            )
            changes.append(Change(name, _LABELS[name], notes=(note,)))
        elif not is_covered:
            continue
        elif name in ("from", "reply_to", "to", "cc", "bcc"):
            old = _by_normal_form(name, before)
            new = _by_normal_form(name, after)
            removed = [address for key, address in old.items() if key not in new]
            added = [address for key, address in new.items() if key not in old]
            changes += _values(name, removed, added)
        elif name == "attachments":
            removed_files = Counter(before.attachments) - Counter(after.attachments)
            added_files = Counter(after.attachments) - Counter(before.attachments)
            removed = list(map(_describe, removed_files.elements()))
            changes += _values(
                name, removed, list(map(_describe, added_files.elements()))
            )
        elif name == "additions":
            for key in sorted({*before.additions, *after.additions}):
                was = before.additions.get(key) or None
                now = after.additions.get(key) or None
                changes += _text(name, was, now, effort, tally, addition=key)
        else:
            attribute = "sender_name" if name == "from_name" else name
            was = getattr(before, attribute)
            changes += _text(name, was, getattr(after, attribute), effort, tally)
    return tuple(changes)


def _values(name: str, removed: list[str], added: list[str]) -> Iterator[Change]:
    if not removed and not added:
        return
    left_out = max(0, len(removed) - MAX_VALUES) + max(0, len(added) - MAX_VALUES)
    note = f"{left_out:,} more changed. The message shows all current ones."
    yield Change(
        name,
        _LABELS[name],
        removed=tuple(removed[:MAX_VALUES]),
        added=tuple(added[:MAX_VALUES]),
        notes=(note,) if left_out else (),
    )


def _by_normal_form(name: str, content: Content) -> dict[str, str]:
    """Return the addresses of a field by the form in which the fingerprint compares
    them: each once, with the domain in lower case.
    """
    addresses: Iterable[str]
    if name == "from":
        addresses = (content.sender,)
    elif name == "reply_to":
        addresses = (content.reply_to,) if content.reply_to else ()
    else:
        addresses = getattr(content, name)
    return {normalise_address(address): address for address in addresses}


def _text(
    name: str,
    before: str | None,
    after: str | None,
    effort: Effort,
    tally: Tally,
    *,
    addition: str = "",
) -> Iterator[Change]:
    if before == after:
        return
    all_pieces, is_fine = compare(before or "", after or "", effort)
    pieces, left_out = shown_pieces(all_pieces, tally)
    notes = disguises(all_pieces)
    if before is None:
        notes.append(
            "There was none before."
            if after
            else "There was none before. Now there is an empty one."
        )
    if after is None:
        notes.append("Removed.")
    if not is_fine:
        notes.append(
            "There are too many differences to compare word by word. The differing parts are shown in full."
        )
    if left_out:
        notes.append(
            f"{left_out:,} more changed characters are not shown, only the first {MAX_SHOWN:,}. Read the whole message."
        )
    yield Change(
        name,
        _LABELS[name],
        addition=addition,
        pieces=pieces,
        notes=tuple(notes),
        left_out=left_out,
    )


def _describe(file: Attachment) -> str:
    checksum = f"sha256 {file.sha256}" if file.sha256 else "no hash given"
    kind = file.content_type or "no type given"
    return f"{file.name}: {kind}, {file.size:,} bytes, {checksum}"


@dataclass(frozen=True)
class Changes:
    """What changed from one version to another. `before` is None if the desk does not
    have the version that the reader has read (`since`, a fingerprint).
    """

    before: Revision | None
    after: Revision
    changes: tuple[Change, ...]
    since: str = ""
    # The decision that requested changes to the version `before`.
    sent_back: Decision | None = None
    # How the text differs from the one that the reviewer suggested. Empty if it was
    # taken unchanged, None if none was suggested.
    suggested: tuple[Change, ...] | None = None
    # The edit by which a person made this message from another one.
    edited: Replacement | None = None

    @property
    def read(self) -> str:
        """The short fingerprint of the version that the reader has read."""
        return short_fingerprint(self.since)


def _changes_between(before: Revision, after: Revision, **details: Any) -> Changes:
    changes = difference(stored_content(before), stored_content(after))
    return Changes(before, after, changes, **details)


def changes_since(message: Message, fingerprint: str | None) -> Changes | None:
    """Return what changed since the version with this fingerprint. None if it is the
    current one, or if no fingerprint is given.

    The fingerprint comes from the reader's browser, so only versions of this message
    are looked up.
    """
    current = message.revision
    if not fingerprint or current is None or current.fingerprint == fingerprint:
        return None
    versions = message.revisions.filter(fingerprint=fingerprint)
    before = versions.order_by("-number").first()
    if before is None:
        return Changes(None, current, (), since=fingerprint)
    return _changes_between(before, current, since=fingerprint)


def changes_since_sent_back(message: Message) -> Changes | None:
    """Return what changed since the message that this one answers: one for which
    changes were requested, or one that a person edited. None if there is no such
    message.
    """
    current = message.revision
    if message.answers_id is None or current is None:
        return None
    if edit_of(message) and (edited := edit_that_made(message)) is not None:
        return _changes_between(edited.revision, current, edited=edited)
    request = (
        Decision.objects.filter(message=message.answers_id, outcome=Outcome.SEND_BACK)
        .exclude(state__in=VOID)
        .select_related("revision", "given_by", "message")
        .last()
    )
    if request is None:
        return None
    suggested = None
    text = stored_content(current).markdown
    if request.suggestion and text is not None:
        texts = (request.suggestion.rstrip(), text.replace("\r\n", "\n").rstrip())
        suggested = difference(
            *(Content(markdown=text, coverage=("markdown",)) for text in texts)
        )
    return _changes_between(
        request.revision, current, sent_back=request, suggested=suggested
    )


def edit_that_made(message: Message) -> Replacement | None:
    """Return the edit that made this message from another one; None if it was not made
    by an edit.
    """
    edits = Replacement.objects.that_made([message])
    return edits.select_related("person", "revision", "message").first()


def changes_since_version_before(message: Message) -> Changes | None:
    """Return what changed since the previous version; None for a first version."""
    current = message.revision
    if current is None:
        return None
    older = message.revisions.filter(number__lt=current.number)
    before = older.order_by("-number").first()
    return _changes_between(before, current) if before else None


_UNDER_WAY = (DecisionState.RECORDED, DecisionState.CALLING, DecisionState.UNKNOWN)
_NOT_SENT = "held scheduled rejected cancelled failed gone".split()


def edits_context(
    message: Message, *, was_edited: bool, is_edited: bool
) -> dict[str, Any]:
    """Return the template context about edits: the newest edit of this message
    (`edit_to`), and the edit that made it (`edit_from`). Each is read only if the flags
    say that there is one.
    """
    context: dict[str, Any] = {"edit_to": None, "edit_from": None}
    edits = message.replacements.all()
    if was_edited and (newest := edits.select_related("person").last()) is not None:
        is_free = edits.free().filter(pk=newest.pk).exists()
        # Only the edited version is rejected with one click. If the message has changed
        # since, a reviewer has to read and reject it like any other.
        context["edit_to"] = newest
        context["may_finish"] = is_free and newest.revision_id == message.revision_id
    if is_edited and (edit := edit_that_made(message)) is not None:
        decision = latest_decision(edit.message)
        is_under_way = decision is not None and decision.state in _UNDER_WAY
        outcome = decision.outcome if decision is not None else ""
        has_left = edit.message.state not in _NOT_SENT
        context |= {
            "edit_from": edit,
            "may_finish_first": edit.revision_id == edit.message.revision_id,
            "first_is_held": edit.message.is_held and not is_under_way,
            "first_leaves": has_left or (is_under_way and outcome == Outcome.APPROVE),
        }
    return context
