"""The page on which an admin writes the usual reasons and saved comments of a mailbox."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_POST, require_safe

from approvals.usual_texts.texts import (
    BUILT_IN,
    MAX_LABEL,
    MAX_WORDS,
    MOST,
    Kind,
    Preset,
    may_set_texts,
    presets_of,
    set_texts,
)
from common.pages import DeskRequest, first_or_404, redirect_with_notice
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox


@dataclass
class TextRow:
    """One row as it was typed, with what is wrong with it."""

    order: str
    label: str
    words: str
    wrong: str = ""


def rows_of(presets: Iterable[Preset]) -> list[TextRow]:
    """Return the rows of stored texts, and empty ones after them."""
    texts = [
        TextRow(str(number), one.label, one.words)
        for number, one in enumerate(presets, start=1)
    ]
    return [
        *texts,
        *(TextRow(str(number), "", "") for number in range(len(texts) + 1, MOST + 1)),
    ]


class TextsForm:
    """The posted rows. `rows` keep what was typed; `texts` are label and words of the
    filled ones, in their order.

    `error` is the first thing that is wrong; then there are no texts.
    """

    def __init__(self, data: MultiValueDict[str, str], *, may_be_empty: bool) -> None:
        self.rows = [
            TextRow(
                data.get(f"order-{number}", "").strip()[:4],
                " ".join(data.get(f"label-{number}", "").split()),
                data.get(f"words-{number}", "").replace("\r\n", "\n").strip(),
            )
            for number in range(1, MOST + 1)
        ]
        filled = [row for row in self.rows if row.label or row.words]
        seen: set[str] = set()
        for row in filled:
            row.wrong = _what_is_wrong(row, seen)
            seen.add(row.label.casefold())
        self.error = next((row.wrong for row in filled if row.wrong), "")
        if not filled and not may_be_empty:
            self.error = "Write at least one reason, or restore the defaults."
        ordered = [] if self.error else sorted(filled, key=lambda row: int(row.order))
        self.texts = [(row.label, row.words) for row in ordered]


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


@require_safe
def usual_texts(request: DeskRequest, mailbox_id: int, text_kind: str) -> HttpResponse:
    """Show the texts of one kind to whoever sees the mailbox, with the form for its
    admins.
    """
    return _page(
        request, _get_visible_mailbox_or_404(request, mailbox_id, text_kind), text_kind
    )


@require_POST
def save_usual_texts(
    request: DeskRequest, mailbox_id: int, text_kind: str
) -> HttpResponse:
    """Store what an admin wrote, or restore the usual ones."""
    mailbox = _get_visible_mailbox_or_404(request, mailbox_id, text_kind)
    restores = bool(request.POST.get("restore"))
    form = TextsForm(request.POST, may_be_empty=text_kind == Kind.COMMENT)
    if form.error and not restores and may_set_texts(request.actor, mailbox):
        return _page(request, mailbox, text_kind, form=form, status=422)
    try:
        texts = None if restores else form.texts
        set_texts(
            mailbox=mailbox,
            kind=text_kind,
            texts=texts,
            actor=request.actor,
            now=timezone.now(),
        )
    except ActNotAllowed as error:
        return _page(request, mailbox, text_kind, error=error.sentence, status=403)
    notice = (
        "The default reasons are restored."
        if restores
        else "Saved. They are offered from now on."
    )
    return redirect_with_notice(
        request, notice, "usual-texts", mailbox_id=mailbox.pk, text_kind=text_kind
    )


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
    mailbox: Mailbox,
    kind: str,
    *,
    form: TextsForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    presets = presets_of(mailbox.pk)[kind]
    context: dict[str, Any] = {
        "box": mailbox,
        "kind": Kind(kind),
        "kinds": list(Kind),
        "about": _ABOUT[Kind(kind)],
        "presets": presets,
        "rows": form.rows if form else rows_of(presets),
        "error": form.error if form else error,
        "may_change": may_set_texts(request.actor, mailbox),
        "has_own": tuple(presets) != tuple(BUILT_IN[kind]),
        "is_comment": kind == Kind.COMMENT,
        "most": MOST,
        "max_label": MAX_LABEL,
        "max_words": MAX_WORDS,
    }
    return render(request, "approvals/usual_texts.html", context, status=status)
