"""Pages of standing approvals for admins and auditors: the list with the proposals and
the switch, and the page of one proposal, with the terms to sign and what they would
have done to past messages.
"""

import re
from dataclasses import asdict
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.models import Decision
from approvals.standing import record
from approvals.standing.commands import (
    LONGEST,
    LONGEST_DELAY,
    MAX_REASON,
    MOST_AN_HOUR,
    MOST_PERCENT,
    SHORTEST_DELAY,
    StandingRefused,
    end_standing,
    sign_standing,
    switch_standing,
)
from approvals.standing.record import Proposal, Terms, lines_of, reader_of
from common.actors import Actor
from common.errors import SentenceError
from common.mail_addresses import patterns_for, read_pattern
from common.pages import (
    DeskRequest,
    MultilineField,
    SentenceForm,
    answer,
    changes,
    cleaned,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from common.time_zones import local_time, zone_name
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Mailbox, Message
from mirror.store import stored_content
from people.models import PendingChange
from people.second_admin.registry import from_json
from people.second_admin.setting import organisation_settings
from people.sign_in.reauthentication import reauthenticated
from policy.models import SAMPLE_OF, StandingApproval
from policy.standing import MOST_RECIPIENTS, StandingScope


class ClassForm(SentenceForm):
    """The class of messages that a page is about. `replaces` is the key of the standing
    approval that gets a new version, if any.
    """

    mailbox = forms.IntegerField(min_value=1, max_value=2**63 - 1)
    key = forms.CharField(max_length=200)
    shape = forms.CharField(max_length=32)
    replaces = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class ChangeForm(SentenceForm):
    """The key of the change, waiting for a second admin, that a page shows."""

    change = forms.IntegerField(min_value=1, max_value=2**63 - 1)


class EndForm(SentenceForm):
    """Why a standing approval ends."""

    reason = MultilineField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Give a reason: it stays in the record.",
            "max_length": f"Keep the reason under {MAX_REASON} characters.",
        },
    )


def _whole_number(least: int, most: int, words: str) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=least,
        max_value=most,
        error_messages=same_error(f"Enter {least} to {most:,} {words}."),
    )


class TermsForm(SentenceForm):
    """The terms of a standing approval. Recipients and sums must be within those of the
    proposed scope.
    """

    ends_on = forms.DateField(
        error_messages=same_error(f"Choose a day in the next {LONGEST.days} days.")
    )
    cap_an_hour = _whole_number(1, MOST_AN_HOUR, "messages")
    delay_minutes = _whole_number(SHORTEST_DELAY, LONGEST_DELAY, "minutes")
    bounce_percent = _whole_number(0, MOST_PERCENT, "percent")

    recipients = MultilineField(
        max_length=10_000,
        error_messages={
            "required": "Name at least one address or domain.",
            "max_length": "Name fewer addresses and domains.",
        },
    )

    def __init__(
        self, scope: StandingScope, data: Any = None, *, initial: Any = None
    ) -> None:
        super().__init__(data, initial=initial)
        self.scope = scope
        for currency, largest in scope.sums:
            self.fields[f"sum_{currency}"] = forms.DecimalField(
                label=currency or "uncertain currency",
                required=False,
                initial=f"{largest:f}",
                min_value=Decimal(0),
                max_value=largest,
                decimal_places=4,
                error_messages=same_error(f"Enter at most {largest:f}, or nothing."),
            )

    def clean_recipients(self) -> tuple[str, ...]:
        typed = re.split(r"[\s,;]+", self.cleaned_data["recipients"].strip())
        if len(typed) > MOST_RECIPIENTS:
            raise forms.ValidationError(
                f"Name at most {MOST_RECIPIENTS} addresses and domains."
            )
        try:
            patterns = tuple(dict.fromkeys(map(read_pattern, typed)))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        for pattern in patterns:
            if set(self.scope.recipients).isdisjoint(patterns_for(pattern)):
                raise forms.ValidationError(
                    f"{pattern} is not among the recipients of the record."
                )
        return patterns

    def sums(self) -> list[forms.BoundField]:
        """Return the fields of the largest sums, one for each currency."""
        return [self[f"sum_{currency}"] for currency, _ in self.scope.sums]

    def terms(self) -> Terms:
        """Return the typed terms. They end at the end of the last day, in the time zone
        of the person who asks.
        """
        typed = self.cleaned_data
        zone = ZoneInfo(zone_name())
        sums = [(currency, typed[f"sum_{currency}"]) for currency, _ in self.scope.sums]
        return Terms(
            ends_at=datetime.combine(typed["ends_on"], time(23, 59), tzinfo=zone),
            cap_an_hour=typed["cap_an_hour"],
            delay_minutes=typed["delay_minutes"],
            bounce_percent=typed["bounce_percent"],
            recipients=typed["recipients"],
            sums=tuple(
                (currency, largest) for currency, largest in sums if largest is not None
            ),
        )


# How many ended standing approvals a page lists.
ENDED = 20
# How many approved messages a proposal links to, and how many characters of the newest
# one's text it shows.
MOST_EXAMPLES = 5
MOST_TEXT = 2000
# What the form of a new standing approval has at first: messages an hour, and duration.
_USUAL_CAP = 20
_USUAL_TIME = timedelta(days=90)


def _reader_or_403(request: DeskRequest) -> Actor:
    """Return the actor with only their roles as admin and auditor. Raises
    PermissionDenied if they have neither.
    """
    reader = reader_of(request.actor)
    if not reader.scopes:
        raise PermissionDenied
    return reader


def _page(
    request: DeskRequest, *, error: SentenceError | None = None, standing_id: int = 0
) -> HttpResponse:
    """List the standing approvals, and the proposals, of the mailboxes that the person
    administers or audits. `error` is why the one with this key could not be ended.
    """
    reader = _reader_or_403(request)
    actor = request.actor
    visible = StandingApproval.objects.visible_to(reader).for_page()
    ended = Paginator(visible.ended(), ENDED).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "settings": organisation_settings(),
        "may_switch": actor.is_admin_of_all,
        "active": lines_of(visible.active(), actor),
        "proposals": record.proposals(actor),
        "ended": ended,
        "ended_lines": lines_of(ended, actor),
        "takes": {
            "least": record.LEAST,
            "days": record.LEAST_DAYS,
            "share": record.LEAST_SHARE,
            "quiet": record.QUIET_DAYS,
            "within": record.DAYS,
        },
        "sample_of": SAMPLE_OF,
        "max_reason": MAX_REASON,
        "at": standing_id,
        "typed_reason": request.POST.get("reason", ""),
    }
    return answer(request, "approvals/standing/standing.html", context, error)


standing = require_safe(_page)


@require_POST
@reauthenticated
def switch_on(request: DeskRequest) -> HttpResponse:
    """Ask a second admin to switch standing approvals on."""
    return _switch(request, on=True)


@require_POST
def switch_off(request: DeskRequest) -> HttpResponse:
    """Switch standing approvals off at once."""
    return _switch(request, on=False)


def _switch(request: DeskRequest, *, on: bool) -> HttpResponse:
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    switch_standing(actor=request.actor, on=on)
    words = "on" if on else "off. People decide every message"
    return redirect_with_notice(request, f"Standing approvals are {words}.", "standing")


@require_POST
@changes(_page, to="standing")
def end(request: DeskRequest, standing_id: int) -> str:
    """End one standing approval, with a reason."""
    existing = first_or_404(
        StandingApproval.objects.visible_to(reader_of(request.actor)).filter(
            pk=standing_id
        ),
        "There is no such standing approval, or you may not see it.",
    )
    because = cleaned(EndForm(request.POST))["reason"]
    ended = end_standing(standing_id=standing_id, actor=request.actor, because=because)
    words = "has ended" if ended else "had ended already"
    return f"Standing approval {existing.number} {words}."


@require_get_or_post
def propose(request: DeskRequest) -> HttpResponse:
    """Show a proposal, or one that waits for a second admin, with its terms and what
    they would have done. A POST shows that for the typed terms. Nothing is stored.
    """
    if request.method == "POST":
        return _on_terms(request)
    _reader_or_403(request)
    change = None
    if "change" in request.GET:
        # Show the waiting change as it was asked for, to the admin who can accept it.
        asked_for = ChangeForm(request.GET)
        waiting = PendingChange.objects.visible_to(request.actor).at("standing")
        missing = "This change is not waiting any more, or you may not see it."
        if not asked_for.is_valid():
            raise Http404(missing)
        change = first_or_404(
            waiting.filter(
                command="sign_standing", pk=asked_for.cleaned_data["change"]
            ),
            missing,
        )
        arguments = change.change["arguments"]
        which = _which_or_404(
            request, {**arguments, "replaces": arguments["replaces"] or ""}
        )
        terms = from_json(Terms, arguments["terms"])
        proposal = _proposal_or_404(which, terms)
    else:
        which = _which_or_404(request, request.GET)
        terms = Terms(timezone.now() + _USUAL_TIME, _USUAL_CAP)
        if which["before"]:
            terms = Terms.of(which["before"])
        proposal = _proposal_or_404(which)
    last_day = f"{local_time(terms.ends_at):%Y-%m-%d}"
    recipients = "\n".join(proposal.scope.recipients)
    initial = asdict(terms) | {"ends_on": last_day, "recipients": recipients}
    form = TermsForm(proposal.scope, initial=initial)
    return _proposal_page(request, which, proposal, form, terms=terms, waiting=change)


@require_POST
@reauthenticated
def ask(request: DeskRequest) -> HttpResponse:
    """Ask a second admin to sign a standing approval on these terms."""
    return _on_terms(request, asks=True)


def _on_terms(request: DeskRequest, *, asks: bool = False) -> HttpResponse:
    _reader_or_403(request)
    which = _which_or_404(request, request.POST)
    proposal = _proposal_or_404(which)
    if asks and not proposal.mailbox.is_administered_by(request.actor):
        raise PermissionDenied
    form = TermsForm(proposal.scope, request.POST)
    if not form.is_valid():
        return _proposal_page(request, which, proposal, form)
    terms = form.terms()
    error: DeskError | None = None
    if asks:
        class_arguments = {
            name: which[name] for name in ("mailbox", "key", "shape", "replaces")
        }
        try:
            sign_standing(actor=request.actor, terms=terms, **class_arguments)
        except (StandingRefused, ActNotAllowed) as refusal:
            error = refusal
    proposal = _proposal_or_404(which, terms)
    return _proposal_page(request, which, proposal, form, error, terms=terms)


def _which_or_404(request: DeskRequest, parameters: Any) -> dict[str, Any]:
    """Return the class of messages that the parameters name: "mailbox", "key", "shape"
    and "replaces" of ClassForm, and "before", the standing approval to replace.

    Raises Http404 if the parameters are invalid or the actor may not see the mailbox.
    """
    form = ClassForm(parameters)
    reader = reader_of(request.actor)
    if not form.is_valid():
        raise Http404("Open the proposal from the list of standing approvals.")
    which = form.cleaned_data
    first_or_404(
        Mailbox.objects.at_work().visible_to(reader).filter(pk=which["mailbox"]),
        "There is no such mailbox, or you may not see it.",
    )
    # The standing approval that gets a new version.
    same = StandingApproval.objects.active().like(
        mailbox=which["mailbox"], key=which["key"], shape=which["shape"]
    )
    before = same.filter(pk=which["replaces"]).first() if which["replaces"] else None
    return which | {"before": before}


def _proposal_or_404(which: dict[str, Any], terms: Terms | None = None) -> Proposal:
    proposal = record.proposal_for(
        which["mailbox"],
        which["key"],
        which["shape"],
        terms=terms,
        before=which["before"],
    )
    if proposal is None:
        raise Http404("Nobody has approved such a message lately.")
    return proposal


def _proposal_page(
    request: DeskRequest,
    which: dict[str, Any],
    proposal: Proposal,
    form: TermsForm,
    error: DeskError | None = None,
    *,
    terms: Terms | None = None,
    waiting: PendingChange | None = None,
) -> HttpResponse:
    actor = request.actor
    now = timezone.now()
    # The newest messages of the class that people approved, and the text of the newest.
    examples = [
        decision.message
        for decision in Decision.objects.approved_by_people_like(
            mailbox=which["mailbox"], key=which["key"], shape=which["shape"]
        )[:MOST_EXAMPLES]
    ]
    text = ""
    if examples and examples[0].revision:
        text = stored_content(examples[0].revision).markdown or ""
    if len(text) > MOST_TEXT:
        text = f"{text[:MOST_TEXT]} …"
    context: dict[str, Any] = {
        "which": which,
        "before": which["before"],
        "found": proposal,
        "against": Message.objects.visible_to(actor)
        .filter(public_id__in=proposal.evidence.against)
        .order_by("-pk"),
        "examples": examples,
        "text": text,
        "lacking": "" if which["before"] else proposal.evidence.lacking(now),
        "rehearsed": record.rehearse(proposal.scope, terms.cap_an_hour)
        if terms
        else None,
        "days": record.DAYS,
        "form": form,
        "waiting": waiting,
        "is_on": organisation_settings().standing_since is not None,
        "may_ask": waiting is None and proposal.mailbox.is_administered_by(actor),
        "first_day": f"{local_time(now):%Y-%m-%d}",
        "last_day": f"{local_time(now + LONGEST - timedelta(days=1)):%Y-%m-%d}",
        "sample_of": SAMPLE_OF,
    }
    return answer(request, "approvals/standing/propose.html", context, error, form=form)
