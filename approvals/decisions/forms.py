"""Forms for deciding a message."""

from typing import Any

from django import forms

from approvals.decisions.later import LaterForm
from approvals.usual_texts import BUILT_IN, Presets, words_named
from common.fingerprint import FINGERPRINT
from common.forms import SentenceForm, WordsField
from mirror.states import Outcome
from rendering.passages import MAX_PASSAGE

CHANGED_MEANWHILE = (
    "The usual reasons of this mailbox were changed meanwhile. Choose again."
)


def with_preset(outcome: str, name: str, text: str, presets: Presets = BUILT_IN) -> str:
    """Return the reason as it is sent: the preset's words, then the typed ones."""
    return "\n".join(
        part for part in (words_named(presets, outcome, name), text) if part
    )


# MultiMail's limit, and what the reviewer's name and our reference take of it
# (common/references.py).
UPSTREAM_MAX_REASON = 2000
RESERVED = 150
MAX_REASON = UPSTREAM_MAX_REASON - RESERVED


# A text that is suggested instead. It travels in webhooks, whose receivers read 256
# KiB.
MAX_SUGGESTION = 20_000
_CUT = "\n[shortened: suggested_markdown has the whole text]"


def with_suggestion(reason: str, suggestion: str, *, heading: str) -> str:
    """Return the reason with the suggested text behind it, cut to what MultiMail takes
    as a reason.
    """
    if not suggestion:
        return reason
    begin = f"{reason}\n\n{heading}:\n".lstrip()
    room = MAX_REASON - len(begin)
    if len(suggestion) > room:
        suggestion = (
            f"{suggestion[: room - len(_CUT)]}{_CUT}" if room > 2 * len(_CUT) else ""
        )
    return f"{begin}{suggestion}" if suggestion else reason


class PassageForm(SentenceForm):
    """Words of the message that somebody copied, and the version that they are from."""

    passage = WordsField(
        required=False,
        max_length=MAX_PASSAGE,
        error_messages={"max_length": f"Quote {MAX_PASSAGE} characters at most."},
    )
    fingerprint = forms.RegexField(
        FINGERPRINT,
        required=False,
        error_messages={
            "invalid": "The page is too old to quote from. Open the message again."
        },
    )


class VerdictForm(LaterForm):
    """A verdict on a message. Rejecting and requesting changes need a reason, because
    the writer reads it.
    """

    outcome = forms.ChoiceField(
        choices=Outcome.choices,
        error_messages={"invalid_choice": "Choose approve, reject or request changes."},
    )
    fingerprint = forms.RegexField(
        FINGERPRINT,
        error_messages={"invalid": "This page is out of date. Open the message again."},
    )
    reason = WordsField(
        required=False,
        max_length=MAX_REASON,
        error_messages={
            "max_length": f"Keep the reason under {MAX_REASON} characters."
        },
    )

    preset = forms.CharField(required=False, max_length=40)
    # The newest message of the thread that the person ticked as read. An invalid value
    # counts as none.
    thread_read = forms.RegexField(r"\A[0-9]{1,18}\Z", required=False)

    def __init__(self, data: Any, *, presets: Presets = BUILT_IN) -> None:
        super().__init__(data)
        self.presets = presets

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["thread_read"] = int(cleaned.get("thread_read") or 0)
        self.errors.pop("thread_read", None)
        outcome = cleaned.get("outcome")
        later = self.choice_of(cleaned)
        cleaned["later"] = later if outcome == Outcome.APPROVE else None
        preset = cleaned.pop("preset", "")
        if outcome in (Outcome.REJECT, Outcome.SEND_BACK) and "reason" in cleaned:
            # The words of the reason that was chosen come before those that were
            # written.
            if words_named(self.presets, outcome, preset) is None:
                self.add_error("reason", CHANGED_MEANWHILE)
                return cleaned
            reason = with_preset(outcome, preset, cleaned["reason"], self.presets)
            cleaned["reason"] = reason
            if len(reason) > MAX_REASON:
                self.add_error(
                    "reason", f"Keep the reason under {MAX_REASON} characters."
                )
        if "reason" in self.errors:
            return cleaned
        if outcome == Outcome.REJECT and not cleaned.get("reason"):
            self.add_error("reason", "Give a reason: it is sent to the agent.")
        if outcome == Outcome.SEND_BACK and not cleaned.get("reason"):
            self.add_error(
                "reason", "Say what should change: the agent gets this note."
            )
        return cleaned


class SettleForm(forms.Form):
    """A person's statement of a decision's outcome."""

    took_effect = forms.ChoiceField(
        choices=[("yes", "It was carried out"), ("no", "It was not")]
    )
