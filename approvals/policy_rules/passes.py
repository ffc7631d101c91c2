"""Admin pages that add and change one pass in the policy's draft."""

import secrets
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpResponse

from approvals.policy_rules.rule_form import PartForm
from approvals.policy_rules.views import SeenForm, admin_or_403, answer_policy
from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    answer,
    cleaned,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from common.time_zones import local_time, zone_name
from policy.errors import StalePolicy
from policy.rules.changes import passes_of, policies, save_rule
from policy.rules.conditions import Conditions, read_domain
from policy.rules.fields import (
    AmountField,
    ChecksField,
    CurrencyField,
    EntriesField,
    NumberField,
)
from policy.rules.passes import MOST_A_DAY, Pass
from policy.rules.rules import find

# The fields that a pass stores as they are cleaned.
_OWN = ("most", "currency", "link_domains", "a_day")


class PassForm(PartForm):
    """The form of one pass. Once it is valid, `read` returns the pass."""

    ends_on = forms.DateField(
        label="Until the end of",
        help_text="At most 366 days ahead.",
        error_messages=same_error("Choose a day."),
    )

    def __init__(self, data: Any, *, actor: Actor, stored: Pass | None) -> None:
        initial: dict[str, Any] = {"a_day": 20}
        if stored:
            initial = {name: getattr(stored, name) for name in _OWN}
            initial["ends_on"] = f"{local_time(stored.ends_at):%Y-%m-%d}"
        super().__init__(data, actor=actor, stored=stored, **initial)
        links = "A domain or *.domain on each line; empty for no links."
        self.fields |= {
            "keys": ChecksField("API keys", self.offered["keys"], required=True),
            "mailboxes": ChecksField(
                "Mailboxes", self.offered["mailboxes"], int, required=True
            ),
            "lists": ChecksField(
                "Recipients on these allowlists",
                self.offered["lists"],
                int,
                "Each recipient must be on one of them.",
                required=True,
            ),
            "most": AmountField("Names at most", "Such as 49.90; empty for no sum."),
            "currency": CurrencyField("Such as EUR."),
            "link_domains": EntriesField("Links to these domains", read_domain, links),
            "a_day": NumberField("Messages a day, at most", MOST_A_DAY, required=True),
        }
        self.order_fields(
            "name keys mailboxes lists most currency link_domains a_day ends_on".split()
        )

    def clean(self) -> None:
        has_sum = self.cleaned_data.get("most") is not None
        if has_sum != bool(self.cleaned_data.get("currency")) and not self.errors:
            self.add_error("currency", "Write an amount and its currency, or neither.")

    def read(self, pass_id: str) -> Pass:
        """Return the pass that was typed. It ends at the end of its last day, in the
        time zone of the person.
        """
        typed = self.cleaned_data
        zone = ZoneInfo(zone_name())
        when = {name: typed[name] for name in ("keys", "mailboxes", "lists")}
        return Pass(
            id=pass_id,
            when=Conditions(**when),
            ends_at=datetime.combine(typed["ends_on"], time(23, 59), tzinfo=zone),
            **{name: typed[name] for name in _OWN},
            **self.about(),
        ).checked()


@require_get_or_post
def edit_pass(request: DeskRequest, policy_pass: str = "") -> HttpResponse:
    """Show the form of one pass of the draft, or of a new one, or save it."""
    actor = admin_or_403(request)
    now = policies()
    stored = find(passes_of(now.draft_parts), policy_pass)
    typed = request.POST if request.method == "POST" else None
    if typed is None and now.draft is None:
        return answer_policy(request, error=StalePolicy("Begin a draft first."))
    if typed is None and policy_pass and stored is None:
        raise Http404("There is no such pass in the draft.")
    form = PassForm(typed, actor=actor, stored=stored)
    error: SentenceError | None = None
    if form.is_valid():
        one = form.read(policy_pass or secrets.token_hex(6))
        try:
            seen = cleaned(SeenForm(request.POST))["edits"]
            save_rule(actor=actor, edits=seen, rule=one)
        except SentenceError as refusal:
            error = refusal
        else:
            notice = f"“{one.name}” is saved in the draft."
            return redirect_with_notice(request, notice, "policy")
    # After a conflict the form can be sent again, over what the draft is now.
    edits = str(now.draft.edits if now.draft else 0)
    if typed and not isinstance(error, StalePolicy):
        edits = typed.get("edits", "")
    context = {"stored": stored, "edits": edits, "form": form}
    return answer(request, "policy/rules/pass.html", context, error, form=form)
