"""The page /patterns/: every layout and component of the pages, with its states. Anybody
signed in may see it; it shows no data.
"""

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from common.pages import DeskRequest, DrawnForm, FiltersForm, NotedChoice


class PatternsForm(DrawnForm):
    """A field of each kind."""

    takes_focus = False
    name = forms.CharField(help_text="A sentence of help.")
    reason = forms.CharField(widget=forms.Textarea({"rows": 2}))
    place = forms.ChoiceField(choices=[("all", "Everything"), ("one", "One mailbox")])
    roles = forms.MultipleChoiceField(
        choices=[
            ("reviewer", NotedChoice("Reviewer", "Reads and decides messages")),
            ("auditor", NotedChoice("Auditor", "Reads everything")),
        ],
        widget=forms.CheckboxSelectMultiple,
    )
    once = forms.BooleanField(label="Only once", help_text="A tick alone.")


@require_safe
def patterns(request: DeskRequest) -> HttpResponse:
    """Show the components; the form twice, empty and with errors."""
    context = {
        "forms": [PatternsForm(auto_id="%s"), PatternsForm({}, auto_id="wrong-%s")],
        "filter_form": FiltersForm({}, table="to|To|dana@x.example", sender="filter"),
        "chips": [("risk", "high", "")],
        "tones": ["amber", "green", "rose", "blue", "violet"],
    }
    return render(request, "dashboard/patterns.html", context)
