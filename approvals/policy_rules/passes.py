"""Admin pages that add and change one pass in the policy's draft."""

import secrets
from dataclasses import asdict
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpResponse

from approvals.policy_rules.rule_form import (
    CHOOSE,
    MAX_LINES,
    ChecksField,
    PartForm,
    PatternsField,
    offered_to,
    tick_first,
    whole_number,
)
from approvals.policy_rules.views import SeenForm, admin_or_403, answer_policy
from common.errors import SentenceError
from common.mail_addresses import read_pattern
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
from policy.rules.conditions import Conditions
from policy.rules.names import names_for
from policy.rules.passes import MOST_A_DAY, Pass
from policy.rules.rules import PolicyRule, find

_ONE = CHOOSE | {"required": "Choose at least one."}


class PassForm(PartForm):
    """The form of one pass. Once it is valid, `read` returns the pass."""

    keys = ChecksField(label="API keys", error_messages=_ONE)
    mailboxes = ChecksField(label="Mailboxes", coerce=int, error_messages=_ONE)
    lists = ChecksField(
        label="Recipients on these allowlists",
        help_text="Each recipient must be on one of them.",
        coerce=int,
        error_messages=_ONE,
    )
    most = forms.DecimalField(
        label="Names at most",
        help_text="Such as 49.90; empty for no sum at all.",
        required=False,
        min_value=Decimal(0),
        max_digits=15,
        decimal_places=2,
        error_messages=same_error("Write an amount such as 1000 or 49.90."),
        widget=forms.TextInput,
    )
    currency = forms.RegexField(
        r"\A[A-Za-z]{3}\Z",
        label="Currency",
        help_text="Such as EUR.",
        required=False,
        error_messages={"invalid": "Write three letters, such as EUR."},
    )
    link_domains = PatternsField(
        label="Links to these domains",
        help_text="A domain or *.domain on each line; empty for no links.",
        required=False,
        max_length=MAX_LINES,
    )
    a_day = whole_number(MOST_A_DAY, "Messages a day, at most", required=True)
    ends_on = forms.DateField(
        label="Until the end of",
        help_text="At most 366 days ahead.",
        error_messages=same_error("Choose a day."),
    )
    owner = forms.TypedChoiceField(
        label="Owner",
        help_text="Who answers for the pass.",
        required=False,
        coerce=int,
        empty_value=None,
        error_messages=CHOOSE,
    )
    field_order = """
        name keys mailboxes lists most currency link_domains a_day ends_on owner note
    """.split()

    def __init__(self, data: Any, *, stored: Pass | None, actor: Any) -> None:
        initial: dict[str, Any] = {"owner": actor.id, "a_day": 20}
        # What the pass names stays a choice, as in the form of a rule.
        as_rule = None
        if stored:
            end = f"{local_time(stored.ends_at):%Y-%m-%d}"
            initial = {**asdict(stored.when), **asdict(stored), "ends_on": end}
            as_rule = PolicyRule(stored.id, stored.name, stored.owner, when=stored.when)
        super().__init__(data, initial=initial)
        names = names_for(actor, (stored,) if stored else ())
        offered = offered_to(actor, as_rule, names)
        fields: dict[str, Any] = self.fields
        for name in ("keys", "mailboxes", "lists"):
            fields[name].choices = list(offered[name].items())
            tick_first(self[name])
        fields["owner"].choices = [("", "Nobody"), *offered["owner"].items()]

    def clean_link_domains(self) -> frozenset[str]:
        domains: frozenset[str] = self.cleaned_data["link_domains"]
        try:
            is_wrong = any("@" in read_pattern(one) for one in domains)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if is_wrong:
            raise forms.ValidationError("Name domains, not addresses.")
        return domains

    def clean(self) -> None:
        has_sum = self.cleaned_data.get("most") is not None
        if has_sum != bool(self.cleaned_data.get("currency")) and not self.errors:
            self.add_error("currency", "Write an amount and its currency, or neither.")

    def read(self, pass_id: str, *, is_on: bool) -> Pass:
        """Return the pass that was typed. It ends at the end of its last day, in the
        time zone of the person.
        """
        typed = self.cleaned_data
        zone = ZoneInfo(zone_name())
        return Pass(
            id=pass_id,
            name=" ".join(typed["name"].split()),
            owner=typed["owner"],
            note=typed["note"].strip(),
            is_on=is_on,
            when=Conditions(
                keys=frozenset(typed["keys"]),
                mailboxes=frozenset(typed["mailboxes"]),
                lists=frozenset(typed["lists"]),
            ),
            ends_at=datetime.combine(typed["ends_on"], time(23, 59), tzinfo=zone),
            a_day=typed["a_day"],
            most=typed["most"],
            currency=typed["currency"].upper(),
            link_domains=typed["link_domains"],
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
    form = PassForm(typed, stored=stored, actor=actor)
    error: SentenceError | None = None
    if form.is_valid():
        one = form.read(
            policy_pass or secrets.token_hex(6), is_on=stored is None or stored.is_on
        )
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
