"""The usual reasons of a mailbox and its saved comments: built-in ones, and those that
its admins wrote, with the page on which they write them.

A form sends a text's name, never its words. The name of a text that an admin wrote
follows from its words: a page from before a change can therefore not send other words
than it showed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.db import transaction
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals.authorship import note_words
from approvals.models import UsualTexts
from audit.recording import record
from common.actors import Actor
from common.pages import (
    DeskRequest,
    DrawnForm,
    MultilineField,
    answer,
    first_or_404,
    only_for,
    posted,
    redirect_with_notice,
)
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
    return next((one.words for one in presets.get(kind, ()) if one.name == name), None)


def presets_of(*mailboxes: int | None) -> Presets:
    """Return the texts of each kind that all of these mailboxes have: the built-in ones
    where their admins wrote none, or different ones.
    """
    own: dict[Any, Sequence[Preset]] = {
        (row.mailbox_id, row.kind): _presets(row.texts)
        for row in UsualTexts.objects.filter(mailbox__in=mailboxes)
    }
    presets = dict(BUILT_IN)
    for kind, built_in in BUILT_IN.items():
        sets = {own.get((key, kind), built_in) for key in mailboxes}
        if len(sets) == 1:
            (presets[kind],) = sets
    return presets


def known_presets(messages: Iterable[UUID]) -> Presets:
    """Return every text that a sheet of these messages may have offered."""
    rows = UsualTexts.objects.filter(
        mailbox__messages__public_id__in=messages
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
    if not mailbox.is_administered_by(actor):
        raise ActNotAllowed(
            f"Only an admin of {mailbox} can change its reasons and comments."
        )
    Mailbox.objects.select_for_update(no_key=True).get(pk=mailbox.pk)
    presets = presets_of(mailbox.pk)[kind]
    before = _in_words(presets)
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
    known = {one.words for one in presets}
    note_words(actor, *(words for _, words in texts or () if words not in known))
    record(
        "usual_texts.changed",
        actor,
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


class TextForm(DrawnForm):
    """One text: its label and its words. An empty one is not saved."""

    label = forms.CharField(required=False, max_length=MAX_LABEL, label="Label")
    words = MultilineField(
        required=False,
        max_length=MAX_WORDS,
        label="Text",
        widget=forms.Textarea({"rows": 2}),
    )

    def clean_label(self) -> str:
        return " ".join(self.cleaned_data["label"].split())

    def clean(self) -> None:
        label, words = (self.cleaned_data.get(one) for one in ("label", "words"))
        if words and not label and not self.errors:
            self.add_error("label", "Give it a short label: the list shows it.")
        if label and not words and not self.errors:
            self.add_error("words", f"Write the text of “{label}”.")


class BaseTexts(forms.BaseFormSet):  # type: ignore[type-arg]
    """The texts of one kind, each with its position. `may_be_empty` is whether all can
    be removed.
    """

    may_be_empty = True
    ordering_widget: Any = forms.NumberInput({"class": "input", "max": MOST})

    def add_fields(self, form: TextForm, index: int | None) -> None:
        super().add_fields(form, index)
        order: Any = form.fields["ORDER"]
        order.label = "Position"
        order.error_messages["invalid"] = f"Give it a position from 1 to {MOST}."

    def clean(self) -> None:
        labels: dict[str, str] = {}
        for form in self.forms:
            label = form.cleaned_data.get("label", "")
            first = labels.get(label.casefold())
            if first:
                form.add_error("label", f"There are two with the label “{first}”.")
            elif label:
                labels[label.casefold()] = label
        if not labels and not any(self.errors) and not self.may_be_empty:
            raise forms.ValidationError(
                "Write at least one reason, or restore the defaults."
            )

    def texts(self) -> list[tuple[str, str]]:
        """Return label and words of the texts, in the order of their positions."""
        cleaned = [one.cleaned_data for one in self.ordered_forms]
        return [(one["label"], one["words"]) for one in cleaned if one["label"]]


Texts: Any = forms.formset_factory(
    TextForm, formset=BaseTexts, extra=MOST, max_num=MOST, can_order=True
)


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


def _form_of(mailbox: Mailbox, kind: Kind, typed: Any) -> BaseTexts:
    presets = presets_of(mailbox.pk)[kind]
    form: BaseTexts = Texts(typed, initial=[asdict(one) for one in presets])
    form.may_be_empty = kind == Kind.COMMENT
    return form


def _page(request: DeskRequest, mailbox_id: int, text_kind: str) -> HttpResponse:
    """Show the texts of one kind to whoever sees the mailbox, with the form for its
    admins.
    """
    mailbox = _get_visible_mailbox_or_404(request, mailbox_id, text_kind)
    kind = Kind(text_kind)
    presets = presets_of(mailbox.pk)[kind]
    form = _form_of(mailbox, kind, posted(request))
    context = {
        "box": mailbox,
        "kind": kind,
        "kinds": list(Kind),
        "about": _ABOUT[kind],
        "presets": presets,
        "form": form,
        "may_change": mailbox.is_administered_by(request.actor),
        "may_restore": tuple(presets) != tuple(BUILT_IN[kind]) and kind != Kind.COMMENT,
    }
    return answer(request, "approvals/usual_texts.html", context, form=form)


usual_texts = require_safe(_page)


@require_POST
def save_usual_texts(
    request: DeskRequest, mailbox_id: int, text_kind: str
) -> HttpResponse:
    """Store what an admin wrote, or restore the usual ones."""
    mailbox = _get_visible_mailbox_or_404(request, mailbox_id, text_kind)
    only_for(f"an admin of {mailbox}", mailbox.is_administered_by(request.actor))
    texts = None
    notice = "The default reasons are restored."
    if not request.POST.get("restore"):
        form = _form_of(mailbox, Kind(text_kind), request.POST)
        if not form.is_valid():
            return _page(request, mailbox_id, text_kind)
        texts = form.texts()
        notice = "Saved. They are offered from now on."
    set_texts(mailbox=mailbox, kind=text_kind, texts=texts, actor=request.actor)
    return redirect_with_notice(
        request, notice, "usual-texts", mailbox_id=mailbox.pk, text_kind=text_kind
    )
