"""What people send to stop mail, and to let it go on."""

from typing import Any

from django import forms

from common.forms import SentenceForm, WordsField


class StopForm(SentenceForm):
    """What the kill switch shall stop, and why: everybody reads the reason until it is released."""

    scope = forms.ChoiceField(
        error_messages={"required": "Choose what to stop.", "invalid_choice": "That is not yours to stop."}
    )
    reason = WordsField(
        max_length=1000,
        error_messages={
            "required": "Say why: whoever finds the mail stopped must know what to wait for.",
            "max_length": "Keep the reason under 1000 characters.",
        },
    )

    def __init__(self, *args: Any, scopes: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scope"].choices = scopes  # type: ignore[attr-defined]


class HoldAllForm(forms.Form):
    """Whether the gateway shall hold all mail."""

    hold = forms.ChoiceField(choices=[("on", "Hold all mail"), ("off", "Let mail leave again")])
