"""What an admin sends to weigh a rule."""

from typing import Any

from django import forms

from common.forms import SentenceForm


class RuleForm(SentenceForm):
    """What a risk rule shall count, or that it shall count as it was published."""

    points = forms.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "Give it 0 to 100 points, in whole numbers."
        ),
    )
    as_published = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("as_published"):
            self.errors.pop("points", None)
        elif cleaned.get("points") is None and "points" not in self.errors:
            self.add_error("points", "Give it 0 to 100 points, in whole numbers.")
        return cleaned

    def wanted(self) -> int | None:
        """Return the points, None for the published ones."""
        return None if self.cleaned_data["as_published"] else self.cleaned_data["points"]
