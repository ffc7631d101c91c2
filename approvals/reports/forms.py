"""What the report of decisions is asked for: a month, and the rows behind one of its figures."""

from typing import Any

from django import forms

from approvals.reports.decisions import ELSEWHERE, PARTS, SUMMED, Asked
from approvals.reports.months import Month

_KEY = "[0-9]{1,18}"


class DecisionsForm(forms.Form):
    """A month; nonsense is read as the month of now. Which rows: nonsense names none."""

    month = forms.CharField(max_length=7, required=False)
    who = forms.RegexField(f"^(person-{_KEY}|rule-[a-z_]{{1,40}}|{ELSEWHERE})$", required=False)
    where = forms.RegexField(f"^{_KEY}(-{_KEY})?$", required=False)
    figure = forms.ChoiceField(choices=[(name, name) for name in {**SUMMED, **PARTS}], required=False)
    page = forms.IntegerField(min_value=1, max_value=10_000, required=False)

    def __init__(self, data: Any, *, now: Month) -> None:
        super().__init__(data)
        self._now = now
        self.is_valid()

    @property
    def asked_month(self) -> Month:
        return Month.read(self.cleaned_data.get("month", ""), self._now.zone) or self._now

    @property
    def asked(self) -> Asked | None:
        """Return whose rows are asked for; None where no rows are called so."""
        if any(name in self.errors for name in ("who", "where", "figure")):
            return None
        named = {name: self.cleaned_data.get(name, "") for name in ("who", "where", "figure")}
        return Asked(self.asked_month, **named)

    @property
    def asked_page(self) -> int:
        return self.cleaned_data.get("page") or 1
