"""Reads and changes the usual reasons and saved comments of a mailbox.

A form sends a text's name, never its words. The name of a text that an admin wrote
follows from its words: a page from before a change can therefore not send other words
than it showed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.urls import reverse

from approvals.models import UsualTexts
from audit.recording import changed, record
from common.actors import Actor, Role
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

# As many as there are digits to choose one with.
MOST = 9
MAX_LABEL = 40
MAX_WORDS = 500

Kind = UsualTexts.Kind


@dataclass(frozen=True)
class Preset:
    """One usual text. `name` is what a form sends, `label` what stands beside its
    number, `words` what is sent.
    """

    name: str
    label: str
    words: str


REJECT = (
    Preset("recipient", "Wrong recipient", "This must not go to this recipient."),
    Preset(
        "untrue",
        "Inaccurate or unverified",
        "It says something that is not true, or that nobody has confirmed.",
    ),
    Preset(
        "promise",
        "Promises too much",
        "It promises something that nobody here has agreed to.",
    ),
    Preset(
        "private", "Confidential information", "It reveals confidential information."
    ),
    Preset(
        "misled",
        "The agent was misled",
        "It follows instructions from somebody who may not give them.",
    ),
    Preset("double", "Already answered", "This was already answered."),
    Preset("late", "No longer needed", "It is no longer needed."),
    Preset(
        "person",
        "A person will answer",
        "A person will answer this. Do not write again.",
    ),
)
SEND_BACK = (
    Preset(
        "facts", "Check the facts", "Check names, dates and sums against the thread."
    ),
    Preset("tone", "Change the tone", "Say the same in a friendlier and simpler way."),
    Preset("shorter", "Shorter", "Make it half as long."),
    Preset("question", "Answer the question", "Answer the question first."),
    Preset(
        "number",
        "Name the order",
        "Name the order, invoice or ticket that this is about.",
    ),
    Preset(
        "copies", "Fewer recipients", "Leave out the recipients who do not need this."
    ),
    Preset(
        "leave_out", "Remove internal details", "Remove what must stay confidential."
    ),
)
Presets = Mapping[str, Sequence[Preset]]
BUILT_IN: Presets = {Kind.REJECT: REJECT, Kind.SEND_BACK: SEND_BACK, Kind.COMMENT: ()}


def words_named(presets: Presets, kind: str, name: str) -> str | None:
    """Return the words of a usual text; an empty string where none was chosen, None
    where it is not there any more.
    """
    if not name:
        return ""
    named = (one.words for one in presets.get(kind, ()) if one.name == name)
    return next(named, None)


def presets_of(mailbox: int | None) -> Presets:
    """Return the texts of each kind of a mailbox, the built-in ones where its admins
    wrote none.
    """
    presets = dict(BUILT_IN)
    for row in UsualTexts.objects.filter(mailbox=mailbox):
        presets[row.kind] = _presets(row.texts)
    return presets


def shared_presets(mailboxes: Iterable[int | None]) -> Presets:
    """Return the texts that all of these mailboxes have; of a kind in which they
    differ, the built-in ones.
    """
    keys = set(mailboxes)
    own = UsualTexts.objects.filter(
        mailbox__in=[key for key in keys if key is not None]
    )
    found: dict[str, list[Sequence[Preset]]] = {}
    for row in own:
        found.setdefault(row.kind, []).append(_presets(row.texts))
    shared = {
        kind: sets[0]
        for kind, sets in found.items()
        if len(sets) == len(keys) and len(set(sets)) == 1
    }
    return {**BUILT_IN, **shared}


def known_presets(messages: Iterable[UUID]) -> Presets:
    """Return every text that a sheet of these messages may have offered."""
    rows = UsualTexts.objects.filter(
        mailbox__messages__public_id__in=list(messages)
    ).distinct()
    known = {kind: list(presets) for kind, presets in BUILT_IN.items()}
    for row in rows:
        known[row.kind] += _presets(row.texts)
    return known


def _presets(texts: Iterable[Mapping[str, str]]) -> tuple[Preset, ...]:
    presets = []
    for one in texts:
        text = f"{one['label']}\n{one['words']}"
        name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        presets.append(Preset(name, one["label"], one["words"]))
    return tuple(presets)


def may_set_texts(actor: Actor, mailbox: Mailbox) -> bool:
    """Whether the actor may write the texts of a mailbox: its admins may."""
    return actor.is_a(Role.ADMIN, connection=mailbox.connection_id, mailbox=mailbox.pk)


@transaction.atomic
@second_admin("Usual texts")
def set_texts(
    *,
    mailbox: Mailbox,
    kind: str,
    texts: Sequence[tuple[str, str]] | None,
    actor: Actor,
    now: datetime,
) -> CanWait[None]:
    """Store the texts of one kind, label and words each, in their order; None restores
    the built-in ones.

    Raises ActNotAllowed for people who may not.
    """
    if not may_set_texts(actor, mailbox):
        raise ActNotAllowed(
            f"Only an admin of {mailbox} can change its reasons and comments."
        )
    Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
    own = UsualTexts.objects.filter(mailbox=mailbox, kind=kind)
    row = own.first()
    before = _in_words(_presets(row.texts) if row else BUILT_IN[kind])
    stored: list[dict[str, Any]] = [
        {"label": label, "words": words} for label, words in texts or ()
    ]
    after = _in_words(BUILT_IN[kind] if texts is None else _presets(stored))
    yield lambda: ChangeInWords(
        title=f"{mailbox}: {Kind(kind).label}",
        before=before,
        after=after or "none",
        page=reverse("usual-texts", args=[mailbox.pk, kind]),
        connection=mailbox.connection_id,
        mailbox=mailbox.pk,
    )
    if texts is None:
        own.delete()
    else:
        values = {"texts": stored, "changed_by_id": int(actor.id), "changed_at": now}
        UsualTexts.objects.update_or_create(mailbox=mailbox, kind=kind, defaults=values)
    if before == after:
        return
    details = {"mailbox": str(mailbox), "kind": str(Kind(kind).label)}
    details |= changed(before=before, after=after)
    record(
        "usual_texts.changed",
        actor=actor,
        connection=mailbox.connection_id,
        details=details,
    )


def _in_words(presets: Iterable[Preset]) -> str:
    return "; ".join(f"{one.label}: {one.words}" for one in presets)
