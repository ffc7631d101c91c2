"""Parsing of what people send to choose messages to decide together, and to decide them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from approvals.bulk.sheet import MAX_ITEMS
from approvals.decisions.forms import CHANGED_MEANWHILE, MAX_REASON, with_preset
from approvals.usual_texts.texts import BUILT_IN, known_presets, words_named
from common.fingerprint import FINGERPRINT
from common.forms import LenientForm, SentenceForm, WordsField
from mirror.states import Outcome

_MISSING = {
    Outcome.REJECT: "Say why, so that the agents can do better: the reason is sent to each of them.",
    Outcome.SEND_BACK: "Say what should change: each agent gets these words.",
}


def chosen_messages(ids: Sequence[str]) -> tuple[list[UUID], int]:
    """Return the messages to put on a sheet, and how many did not fit. Invalid ids are left out."""
    # Twice as many are read, to count how many did not fit.
    found = list(dict.fromkeys(filter(None, map(_as_id, ids[: 2 * MAX_ITEMS]))))
    return found[:MAX_ITEMS], len(found[MAX_ITEMS:])


# Approves what is ticked and unread as well, if its number is typed.
WITH_UNREAD = "approve_unread"


class BatchForm(SentenceForm):
    """One verdict for all that is ticked on a sheet. Each act has a field of its own for its words.

    An approval is of what is read; with `with_unread` also of the rest, whose number was typed: `number_unread`, 0 for
    none. `counted` are the messages that the page counted as read.
    """

    with_unread = False
    number_unread = 0

    outcome = forms.ChoiceField(
        choices=[*Outcome.choices, (WITH_UNREAD, "Approve, with the unread ones")],
        error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose approve, reject or request changes."),
    )
    sheet = forms.CharField(max_length=20_000, required=False)
    reject_reason = WordsField(required=False)
    send_back_reason = WordsField(required=False)
    reject_preset = forms.CharField(required=False, max_length=40)
    send_back_preset = forms.CharField(required=False, max_length=40)
    unread = forms.IntegerField(min_value=0, required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.ticked = [as_pair(value) for value in data.getlist("item")]
        self.counted = {UUID(key) for key, _ in map(as_pair, data.getlist("read")) if key}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        # What is no number is refused by `approvable`, which knows the right one.
        self.errors.pop("unread", None)
        outcome = cleaned.get("outcome", "")
        if outcome == WITH_UNREAD:
            self.with_unread, self.number_unread = True, cleaned.get("unread") or 0
            outcome = cleaned["outcome"] = Outcome.APPROVE
        words = cleaned.get(f"{outcome}_reason") or ""
        preset = cleaned.get(f"{outcome}_preset") or ""
        presets = known_presets(UUID(key) for key, _ in self.ticked if key) if preset else BUILT_IN
        cleaned["reason"] = with_preset(outcome, preset, words, presets)
        if outcome in _MISSING and words_named(presets, outcome, preset) is None:
            self.add_error(None, CHANGED_MEANWHILE)
            return cleaned
        if outcome in _MISSING and not cleaned["reason"]:
            self.add_error(None, _MISSING[outcome])
        if len(cleaned["reason"]) > MAX_REASON:
            self.add_error(None, f"Keep the reason under {MAX_REASON} characters.")
        if outcome and not self.ticked:
            self.add_error(None, "Tick at least one message to decide.")
        return cleaned


class UndoForm(LenientForm):
    """The batch to undo, or one message of it."""

    of = forms.RegexField(r"\A[0-9a-f]{32}\Z", required=False)
    id = forms.UUIDField(required=False)


def _as_id(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def as_pair(value: str) -> tuple[str, str]:
    """Return id and fingerprint of a ticked message; an invalid value matches nothing on any sheet."""
    key, _, version = value.partition(".")
    found = _as_id(key)
    return (str(found), version) if found and FINGERPRINT.match(version) else ("", value[:10])
