"""The usual reasons of a mailbox and its saved comments: built-in ones, and those that
its admins wrote, with the page on which they write them.

A form sends a text's name, never its words. The name of a text that an admin wrote
follows from its words: a page from before a change can therefore not send other words
than it showed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.urls import reverse
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_POST, require_safe

from approvals.errors import InvalidInput
from approvals.models import UsualTexts
from audit.recording import record
from common.actors import Actor
from common.errors import SentenceError
from common.pages import DeskRequest, answer, changes, first_or_404
from common.tables import table_rows
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


def _built_in(table: str) -> tuple[Preset, ...]:
    return tuple(Preset(*row) for row in table_rows(table))


REJECT = _built_in(
    """
recipient | Wrong recipient | This must not go to this recipient.
untrue | Inaccurate or unverified | It says something that is not true, or that nobody has confirmed.
promise | Promises too much | It promises something that nobody here has agreed to.
private | Confidential information | It reveals confidential information.
misled | The agent was misled | It follows instructions from somebody who may not give them.
double | Already answered | This was already answered.
late | No longer needed | It is no longer needed.
person | A person will answer | A person will answer this. Do not write again.
"""
)
SEND_BACK = _built_in(
    """
facts | Check the facts | Check names, dates and sums against the thread.
tone | Change the tone | Say the same in a friendlier and simpler way.
shorter | Shorter | Make it half as long.
question | Answer the question | Answer the question first.
number | Name the order | Name the order, invoice or ticket that this is about.
copies | Fewer recipients | Leave out the recipients who do not need this.
leave_out | Remove internal details | Remove what must stay confidential.
"""
)
Presets = Mapping[str, Sequence[Preset]]
BUILT_IN: Presets = {Kind.REJECT: REJECT, Kind.SEND_BACK: SEND_BACK, Kind.COMMENT: ()}


def words_named(presets: Presets, kind: str, name: str) -> str | None:
    """Return the words of a usual text; an empty string where none was chosen, None
    where it is not there any more.
    """
    if not name:
        return ""
    return next((one.words for one in presets.get(kind, ()) if one.name == name), None)


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


def check_may_set(actor: Actor, mailbox: Mailbox) -> None:
    """Raise ActNotAllowed for people who may not write the texts of a mailbox."""
    if not mailbox.is_administered_by(actor):
        raise ActNotAllowed(
            f"Only an admin of {mailbox} can change its reasons and comments."
        )


@transaction.atomic
@second_admin("Usual texts")
def set_texts(
    *,
    mailbox: Mailbox,
    kind: str,
    texts: Sequence[tuple[str, str]] | None,
    actor: Actor,
) -> CanWait[None]:
    """Store the texts of one kind, label and words each, in their order; None restores
    the built-in ones.

    Raises ActNotAllowed for people who may not.
    """
    check_may_set(actor, mailbox)
    Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
    before = _in_words(presets_of(mailbox.pk)[kind])
    stored = [{"label": label, "words": words} for label, words in texts or ()]
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
        UsualTexts.objects.filter(mailbox=mailbox, kind=kind).delete()
    else:
        UsualTexts.objects.update_or_create(
            mailbox=mailbox, kind=kind, defaults={"texts": stored}
        )
    if before == after:
        return
    record(
        "usual_texts.changed",
        actor=actor,
        connection=mailbox.connection_id,
        details={
            "mailbox": str(mailbox),
            "kind": str(Kind(kind).label),
            "before": before,
            "after": after,
        },
    )


def _in_words(presets: Iterable[Preset]) -> str:
    return "; ".join(f"{one.label}: {one.words}" for one in presets)


@dataclass
class TextRow:
    """One row of the page, as it is stored or was typed, with what is wrong with it."""

    order: str
    label: str
    words: str
    wrong: str = ""


def rows_of(presets: Sequence[Preset]) -> list[TextRow]:
    """Return the rows of stored texts, and empty ones after them."""
    texts = [*presets, *[Preset("", "", "")] * MOST][:MOST]
    return [
        TextRow(str(number), one.label, one.words)
        for number, one in enumerate(texts, start=1)
    ]


def typed_rows(data: MultiValueDict[str, str]) -> list[TextRow]:
    """Return the posted rows, each with what is wrong with it; empty ones are fine."""
    rows = [
        TextRow(
            data.get(f"order-{number}", "").strip()[:4],
            " ".join(data.get(f"label-{number}", "").split()),
            data.get(f"words-{number}", "").replace("\r\n", "\n").strip(),
        )
        for number in range(1, MOST + 1)
    ]
    seen: set[str] = set()
    for row in rows:
        if row.label or row.words:
            row.wrong = _what_is_wrong(row, seen)
            seen.add(row.label.casefold())
    return rows


def texts_in(rows: Iterable[TextRow], *, may_be_empty: bool) -> list[tuple[str, str]]:
    """Return label and words of the filled rows, in the order typed. Raises
    InvalidInput for the first thing that is wrong.
    """
    filled = [row for row in rows if row.label or row.words]
    if not filled and not may_be_empty:
        raise InvalidInput("Write at least one reason, or restore the defaults.")
    for row in filled:
        if row.wrong:
            raise InvalidInput(row.wrong)
    filled.sort(key=lambda row: int(row.order))
    return [(row.label, row.words) for row in filled]


def _what_is_wrong(row: TextRow, seen: set[str]) -> str:
    if not row.label:
        return "Give it a short label: the list shows it."
    if not row.words:
        return f"Write the text of “{row.label[:MAX_LABEL]}”."
    if "\0" in row.label + row.words:
        return "Remove the invisible character."
    if len(row.label) > MAX_LABEL:
        return f"Keep the label under {MAX_LABEL} characters."
    if len(row.words) > MAX_WORDS:
        return f"Keep the text under {MAX_WORDS} characters."
    if row.label.casefold() in seen:
        return f"There are two with the label “{row.label}”."
    if row.order not in {str(number) for number in range(1, MOST + 1)}:
        return f"Give it a position from 1 to {MOST}."
    return ""


_ABOUT = {
    Kind.REJECT: "Offered, by number, when a message of this mailbox is rejected. The agent gets the text.",
    Kind.SEND_BACK: "Offered, by number, when changes to a message of this mailbox are requested. The agent gets the "
    "text.",
    Kind.COMMENT: "Offered for comments on messages of this mailbox. Comments never leave this desk.",
}


def _get_visible_mailbox_or_404(
    request: DeskRequest, mailbox_id: int, kind: str
) -> Mailbox:
    visible = Mailbox.objects.at_work().visible_to(request.actor)
    wanted = visible.filter(pk=mailbox_id) if kind in Kind.values else visible.none()
    return first_or_404(
        wanted.select_related("connection"),
        "There is no such mailbox, or you do not see it.",
    )


def _page(
    request: DeskRequest,
    mailbox_id: int,
    text_kind: str,
    *,
    error: SentenceError | None = None,
) -> HttpResponse:
    """Show the texts of one kind to whoever sees the mailbox, with the form for its
    admins.
    """
    mailbox = _get_visible_mailbox_or_404(request, mailbox_id, text_kind)
    kind = Kind(text_kind)
    presets = presets_of(mailbox.pk)[kind]
    context: dict[str, Any] = {
        "box": mailbox,
        "kind": kind,
        "kinds": list(Kind),
        "about": _ABOUT[kind],
        "presets": presets,
        "rows": typed_rows(request.POST) if error else rows_of(presets),
        "may_change": mailbox.is_administered_by(request.actor),
        "has_own": tuple(presets) != tuple(BUILT_IN[kind]),
        "is_comment": kind == Kind.COMMENT,
        "most": MOST,
        "max_label": MAX_LABEL,
        "max_words": MAX_WORDS,
    }
    return answer(request, "approvals/usual_texts.html", context, error)


usual_texts = require_safe(_page)


@require_POST
@changes(_page, to="usual-texts", is_same=True)
def save_usual_texts(request: DeskRequest, mailbox_id: int, text_kind: str) -> str:
    """Store what an admin wrote, or restore the usual ones."""
    mailbox = _get_visible_mailbox_or_404(request, mailbox_id, text_kind)
    check_may_set(request.actor, mailbox)
    texts = None
    if not request.POST.get("restore"):
        may_be_empty = text_kind == Kind.COMMENT
        texts = texts_in(typed_rows(request.POST), may_be_empty=may_be_empty)
    set_texts(mailbox=mailbox, kind=text_kind, texts=texts, actor=request.actor)
    if texts is None:
        return "The default reasons are restored."
    return "Saved. They are offered from now on."
