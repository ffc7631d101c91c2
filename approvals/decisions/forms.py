"""Forms with which people decide a message: the ordinary verdict, the page for high
risk, and recording an outcome by hand; with the preset reasons and the questions that
these forms ask.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django import forms

from approvals.decisions.later import LaterForm
from approvals.usual_texts import BUILT_IN, Presets, words_named
from common.ascii import lowered
from common.fingerprint import FINGERPRINT, Content
from common.pages import MultilineField
from mirror.models import Message
from mirror.states import Outcome
from policy.rules.rules import Effects
from rendering.links import unicode_host
from risk.addresses import bare_address, everybody
from risk.findings import Finding, restored

CHANGED_MEANWHILE = (
    "The usual reasons of this mailbox were changed meanwhile. Choose again."
)


def with_preset(outcome: str, name: str, text: str, presets: Presets) -> str:
    """Return the reason as it is sent: the preset's words, then the typed ones."""
    return "\n".join(
        part for part in (words_named(presets, outcome, name), text) if part
    )


# Characters. MultiMail takes 2,000; the reviewer's name and the reference are added to
# the reason (common/references.py).
MAX_REASON = 2000 - 150


# Characters of a suggested text. It is sent in webhooks, of which receivers read 256
# KiB.
MAX_SUGGESTION = 20_000
_CUT = "\n[shortened: suggested_markdown has the whole text]"


def with_suggestion(reason: str, suggestion: str, heading: str) -> str:
    """Return the reason, followed by the suggested text under a heading. The text is
    shortened, or left out, if the whole would be longer than MAX_REASON.
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


# The errors of a verdict without a reason.
_LACKING: dict[str, str] = {
    Outcome.REJECT: "Give a reason: it is sent to the agent.",
    Outcome.SEND_BACK: "Say what should change: the agent gets this note.",
}


class WithPresets(forms.Form):
    """A form with texts to choose from."""

    def __init__(self, data: Any, *, presets: Presets = BUILT_IN) -> None:
        super().__init__(data)
        self.presets = presets


class VerdictForm(WithPresets, LaterForm):
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
    reason = MultilineField(
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

    def clean(self) -> None:
        cleaned = self.cleaned_data
        cleaned["thread_read"] = int(cleaned.get("thread_read") or 0)
        self.errors.pop("thread_read", None)
        outcome = cleaned.get("outcome")
        later = self.choice_of(cleaned)
        cleaned["later"] = later if outcome == Outcome.APPROVE else None
        preset = cleaned.pop("preset", "")
        if outcome in _LACKING and "reason" in cleaned:
            # The words of the reason that was chosen come before those that were
            # written.
            reason = with_preset(outcome, preset, cleaned["reason"], self.presets)
            cleaned["reason"] = reason
            if words_named(self.presets, outcome, preset) is None:
                self.add_error("reason", CHANGED_MEANWHILE)
            elif len(reason) > MAX_REASON:
                self.add_error(
                    "reason", f"Keep the reason under {MAX_REASON} characters."
                )
            elif not reason:
                self.add_error("reason", _LACKING[outcome])


class SettleForm(forms.Form):
    """A person's statement whether a decision was carried out."""

    took_effect = forms.ChoiceField(
        choices=[("yes", "It was carried out"), ("no", "It was not")]
    )


# If a message has more recipients than this, their number is asked for, not a domain.
FEW = 3
# The finding that is shown if a rule of the policy asks for care. No rule of the risk
# package has this name.
_WITH_CARE = Finding(
    "policy",
    1,
    "high",
    "A rule of the policy asks to approve this message with care.",
    "Check whom it goes to and what it says before you approve.",
)


def serious_findings(message: Message) -> tuple[Finding, ...]:
    """Return the findings that must be read before a message is approved: the high
    ones.
    """
    stored = message.revision.findings if message.revision else []
    return tuple(one for one in map(restored, stored) if one.level == "high")


def to_be_read(message: Message, effects: Effects) -> tuple[Finding, ...]:
    """Return the findings that the page asks to tick: the serious ones and, if a rule
    of the policy asks for care, one that says so.
    """
    serious = serious_findings(message)
    return (*serious, _WITH_CARE) if effects.care else serious


@dataclass(frozen=True)
class Asked:
    """What must be typed to approve: the question, and the accepted answers. `of` is
    the address that the question is about, if it is about one.
    """

    question: str
    answers: tuple[str, ...]
    of: str = ""


def recipient_question(
    content: Content, *, is_inbound: bool, suspicious: Collection[str]
) -> Asked:
    """Return the question that the page asks: for the number of recipients if they are
    many, else for a recipient's domain, of a suspicious one first. Of a received
    message the domain of its sender is asked for.
    """
    addresses = (content.sender,) if is_inbound else everybody(content)
    people = list(dict.fromkeys(lowered(bare_address(one)) for one in addresses))
    address = next((one for one in people if one in suspicious), next(iter(people), ""))
    domain = address.rpartition("@")[2]
    if len(people) > FEW or not domain:
        return Asked("How many people get it?", (str(len(people)),))
    whose = "sender" if is_inbound else "recipient"
    return Asked(
        f"What is the {whose}'s domain?",
        tuple({domain, unicode_host(domain)}),
        of=address,
    )


class HighRiskForm(LaterForm):
    """The form of the page for high risk: each serious finding must be ticked, and the
    answer to a question about the recipients typed.

    `has_late` says that messages came into the thread after the draft. Then that these
    were read must be ticked as well.
    """

    fingerprint = forms.RegexField(
        FINGERPRINT,
        error_messages={
            "invalid": "The page is too old to decide from. Open the message again."
        },
    )
    risk_read = forms.MultipleChoiceField(required=False)
    typed = forms.CharField(
        max_length=300,
        error_messages={"required": "Enter it to confirm the recipients."},
    )
    thread_read = forms.RegexField(r"\A[0-9]{1,18}\Z", required=False)

    def __init__(
        self,
        data: Any,
        *,
        findings: Collection[Finding],
        asked: Asked,
        has_late: bool = False,
    ) -> None:
        super().__init__(data)
        self.has_late = has_late
        self.rules = {one.rule: one.sentence for one in findings}
        self.asked = asked
        self.fields["risk_read"].choices = list(self.rules.items())  # type: ignore[attr-defined]

    def problem(self) -> str:
        """Return a sentence about all errors for the top of the page; empty if there
        are none or the form was not sent.
        """
        if "fingerprint" in self.errors:
            return str(self.errors["fingerprint"][0])
        if len(self.errors) > 1:
            return "Some entries below are missing or wrong."
        return "One entry below is missing or wrong." if self.errors else ""

    def clean(self) -> None:
        cleaned = self.cleaned_data
        cleaned["later"] = self.choice_of(cleaned)
        cleaned.pop("typed", None)
        # The rest of a verdict.
        cleaned |= {"outcome": Outcome.APPROVE, "reason": ""}

    def clean_risk_read(self) -> Any:
        read = self.cleaned_data["risk_read"]
        if left := [
            sentence for rule, sentence in self.rules.items() if rule not in read
        ]:
            raise forms.ValidationError(f"Read this and tick it: {left[0]}")
        return read

    def clean_thread_read(self) -> int:
        read = int(self.cleaned_data["thread_read"] or 0)
        if self.has_late and not read:
            raise forms.ValidationError(
                "Read the newer messages in the thread, then tick the box."
            )
        return read

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"]).strip()
        plain = typed.lower().removeprefix("@").rstrip(".")
        if plain not in self.asked.answers:
            what = "the number of people above. Count them again."
            if self.asked.of:
                what = "the domain above. Compare it character by character."
            raise forms.ValidationError(f"“{typed[:80]}” is not {what}")
        return typed
