"""What the gates refused because of an allowlist; allowing an address from there; bringing a list to its gate now."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from common.patterns import compared
from mirror.errors import ActNotAllowed
from people.actors import Actor, Role
from people.sign_in.reauthentication import reauthenticated
from policy.allowlists.applicable import reach_of
from policy.allowlists.changes import allow_for_days
from policy.allowlists.forms import CodeForm
from policy.allowlists.gate_status import at_gate, try_now
from policy.allowlists.judgement import judge, patterns_of
from policy.errors import AllowlistNotAllowed
from policy.models import GateList, GateRefusal

PAGE = 50
DAYS = 7


@login_required
@require_safe
def refusals(request: DeskRequest) -> HttpResponse:
    """List what the gates refused, newest first: who tried, to whom, by which rule."""
    return _answer(request)


@login_required
@require_POST
@reauthenticated
def allow_refused(request: DeskRequest, refusal_id: int) -> HttpResponse:
    """Let a refused address be written to for seven days."""
    visible = GateRefusal.objects.visible_to(request.actor).for_page(None)
    refusal = visible.filter(pk=refusal_id).first()
    if refusal is None:
        raise Http404("There is no such refusal, or it is of a mailbox that you do not see.")
    address = request.POST.get("address", "")
    if address not in refusal.refused or refusal.mailbox_id is None:
        return _answer(request, status=422, problem="Choose one of the addresses that were refused there.")
    try:
        changed = allow_for_days(
            address=address, mailbox=refusal.mailbox_id, days=DAYS, actor=request.actor, now=timezone.now()
        )
    except AllowlistNotAllowed as error:
        return _answer(request, status=403, problem=error.sentence)
    entry = changed.entries.in_place().filter(pattern=compared(address)).first()
    said = f"{address} may be written to from {refusal.mailbox} for {DAYS} days. The gate gets it by itself."
    messages.info(request, said, extra_tags="desk")
    return redirect("allow-entry", entry_id=entry.pk) if entry else redirect("refusals")


@login_required
@require_POST
@reauthenticated
def push_now(request: DeskRequest, gate_id: int) -> HttpResponse:
    """Have a list that its gate lacks brought there now; an operator's code goes with it."""
    form = CodeForm(request.POST)
    code = form.cleaned_data["code"] if form.is_valid() else ""
    try:
        word = try_now(gate_id=gate_id, code=code, actor=request.actor)
    except GateList.DoesNotExist:
        raise Http404("There is no such list at a gate, or you do not see its mailbox.") from None
    except ActNotAllowed as error:
        raise PermissionDenied(error.sentence) from error
    gate = GateList.objects.for_page().get(pk=gate_id)
    now = at_gate(gate)
    said = "The list is at the gate now." if word in ("pushed", "there already") else f"{now.word}: {now.sentence}"
    messages.info(request, said, extra_tags="desk")
    return redirect("allowlist", scope=f"mailbox-{gate.mailbox_id}", kind=gate.kind)


def _answer(request: DeskRequest, *, status: int = 200, problem: str = "") -> HttpResponse:
    before = request.GET.get("before", "")
    number = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
    found = list(GateRefusal.objects.visible_to(request.actor).for_page(number)[: PAGE + 1])
    context = {
        "rows": _rows(request, found[:PAGE]),
        "next_before": found[PAGE - 1].pk if len(found) > PAGE else None,
        "is_first_page": number is None,
        "problem": problem,
        "days": DAYS,
    }
    return render(request, "approvals/refusals.html", context, status=status)


def _rows(request: DeskRequest, found: list[GateRefusal]) -> list[dict[str, Any]]:
    """Return each refusal with its recipients, and what its reader may do about those who were refused."""
    now, rows = timezone.now(), []
    patterns = patterns_of(address for one in found for address in one.refused)
    reach = reach_of(connections={one.connection_id for one in found}, patterns=patterns)
    for one in found:
        lists = reach.of(connection=one.connection_id, mailbox=one.mailbox_id)
        passed = judge(one.refused, lists, None, now).passed
        rows.append(
            {
                "refusal": one,
                "may_allow": _may_allow(request.actor, one),
                "refused": [(address, address in passed, _for_good(one, address)) for address in one.refused],
                "others": [address for address in one.recipients if address not in one.refused],
            }
        )
    return rows


def _may_allow(actor: Actor, one: GateRefusal) -> bool:
    """As `may_change` says it of the mailbox's list, without a question for each row."""
    is_admin = actor.is_a(Role.ADMIN, connection=one.connection_id, mailbox=one.mailbox_id)
    return one.mailbox_id is not None and is_admin


def _for_good(one: GateRefusal, address: str) -> str:
    """Return the address of the mailbox's list with this address put into its form."""
    if one.mailbox_id is None:
        return ""
    page = reverse("allowlist", args=[f"mailbox-{one.mailbox_id}", "restriction"])
    return f"{page}?{urlencode({'add': address})}#add"
