"""Forms for deciding a message, with the usual reasons for rejecting it or requesting changes."""

from dataclasses import dataclass
from typing import Any

from django import forms

from common.fingerprint import FINGERPRINT
from common.forms import SentenceForm, WordsField
from mirror.states import Outcome


@dataclass(frozen=True)
class Preset:
    """One usual reason. `name` is what a form sends, `label` what stands beside its number, `words` what is sent."""

    name: str
    label: str
    words: str


REJECT = (
    Preset("recipient", "Wrong recipient", "This must not go to this recipient."),
    Preset("untrue", "Inaccurate or unverified", "It says something that is not true, or that nobody has confirmed."),
    Preset("promise", "Promises too much", "It promises something that nobody here has agreed to."),
    Preset("private", "Confidential information", "It gives away what must stay inside."),
    Preset("misled", "The agent was misled", "It follows instructions from somebody who may not give any."),
    Preset("double", "Already answered", "This was already answered."),
    Preset("late", "No longer needed", "It is not needed any more."),
    Preset("person", "A person will answer", "A person will answer this. Do not write again."),
)
SEND_BACK = (
    Preset("facts", "Check the facts", "Check names, dates and sums against the thread."),
    Preset("tone", "Another tone", "Say the same more kindly and more plainly."),
    Preset("shorter", "Shorter", "Say it in half as many words."),
    Preset("question", "Answer the question", "Answer what was asked, first of all."),
    Preset("number", "Name the order", "Name the order, invoice or ticket that this is about."),
    Preset("copies", "Fewer recipients", "Leave out the recipients who do not need this."),
    Preset("leave_out", "Leave out what is inside", "Leave out what must stay inside."),
)
PRESETS = {"reject": REJECT, "send_back": SEND_BACK}


def with_preset(outcome: str, name: str, text: str) -> str:
    """Return the reason as it is sent: the preset's words, then the typed ones."""
    words = next((one.words for one in PRESETS.get(outcome, ()) if one.name == name), "")
    return "\n".join(part for part in (words, text) if part)


# MultiMail's limit, and what the reviewer's name and our reference take of it (common/references.py).
UPSTREAM_MAX_REASON, RESERVED = 2000, 150
MAX_REASON = UPSTREAM_MAX_REASON - RESERVED


class VerdictForm(SentenceForm):
    """A verdict on a message. Rejecting and requesting changes need a reason, because the writer reads it."""

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
    # The newest message of the thread that the person ticked as read. An invalid value counts as none.
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
    """A person's statement of a decision's outcome."""

    took_effect = forms.ChoiceField(choices=[("yes", "It was carried out"), ("no", "It was not")])
