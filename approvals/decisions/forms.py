"""What people send to decide a message, or to say what became of a decision."""

from typing import Any

from django import forms

from approvals.decisions.usual_reasons import PRESETS, with_preset
from common.fingerprint import FINGERPRINT
from common.forms import SentenceForm, WordsField
from mirror.states import Outcome

# MultiMail takes 2000 characters, and the reviewer's name and our reference are put behind the reason.
MAX_REASON = 1850


class VerdictForm(SentenceForm):
    """What a person says to a message. Rejecting and sending back need a reason, because the writer reads it."""

    outcome = forms.ChoiceField(
        choices=Outcome.choices, error_messages={"invalid_choice": "Choose approve, reject or request changes."}
    )
    fingerprint = forms.RegexField(
        FINGERPRINT, error_messages={"invalid": "The page is too old to decide from. Open the message again."}
    )
    reason = WordsField(
        required=False,
        max_length=MAX_REASON,
        error_messages={"max_length": f"Keep the reason under {MAX_REASON} characters."},
    )

    preset = forms.CharField(required=False, max_length=40)
    # The newest letter of the thread that the person ticked as read. Nonsense is none.
    thread_read = forms.RegexField(r"\A[0-9]{1,18}\Z", required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["thread_read"] = int(cleaned.get("thread_read") or 0)
        self.errors.pop("thread_read", None)
        outcome = cleaned.get("outcome")
        self._add_preset(cleaned)
        if outcome == Outcome.REJECT and not cleaned.get("reason"):
            self.add_error("reason", "Say why, so that the agent can do better: the reason is sent to it.")
        if outcome == Outcome.SEND_BACK and not cleaned.get("reason"):
            self.add_error("reason", "Say what should change: the agent gets these words.")
        return cleaned

    def _add_preset(self, cleaned: dict[str, Any]) -> None:
        """Put the words of the reason that was chosen before those that were written."""
        preset = cleaned.pop("preset", "")
        if "reason" not in cleaned or cleaned.get("outcome") not in PRESETS:
            return
        cleaned["reason"] = with_preset(cleaned["outcome"], preset, cleaned["reason"])
        if len(cleaned["reason"]) > MAX_REASON:
            self.add_error("reason", f"Keep the reason under {MAX_REASON} characters.")


class SettleForm(forms.Form):
    """A person's word for what became of a decision."""

    took_effect = forms.ChoiceField(choices=[("yes", "It was carried out"), ("no", "It was not")])
