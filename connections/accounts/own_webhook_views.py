"""The desk's own webhook: registering it, testing it, and changing the secret that signs it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from common.pages import DeskRequest
from connections.accounts import own_webhook, rights, rotation
from connections.accounts.adding import new_secret
from connections.accounts.connection_views import failed, page
from connections.accounts.forms import OverlapForm, RegisterForm, SecretForm
from connections.errors import ConnectionNotChanged
from connections.page_base import CHANGE_ERRORS, connection_seen
from people.sign_in.reauthentication import reauthenticated

_ERRORS = (*CHANGE_ERRORS, ConnectionNotChanged)
_HOOK, _SECRET = "hook", "secret"


@login_required
@require_POST
@reauthenticated
def register(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have MultiMail send its events here."""
    found, form = connection_seen(request, connection_id), RegisterForm(request.POST)
    if not form.is_valid():
        return page(request, found, status=422, section=_HOOK, problem=form.sentences()["approval_code"])
    code = form.cleaned_data["approval_code"]
    try:
        own_webhook.register(connection=found, actor=request.actor, approval_code=code)
    except _ERRORS as error:
        return failed(request, found, error, section=_HOOK)
    messages.info(request, "The webhook is registered. Send a test to see that it arrives.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
def test(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have a test sent, and say whether it arrived."""
    found = connection_seen(request, connection_id)
    try:
        result = own_webhook.test(connection=found, actor=request.actor)
    except _ERRORS as error:
        return failed(request, found, error, section=_HOOK)
    if result.seconds is None:
        return page(request, found, status=422, section=_HOOK, problem=result.problem)
    messages.info(request, f"The test arrived {result.seconds:.1f} s later, rightly signed.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
@reauthenticated
def rotate(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Change the secret here and at our gateway, or finish a change that broke off."""
    found, form = connection_seen(request, connection_id), OverlapForm(request.POST)
    if not form.is_valid():
        return page(request, found, status=422, section=_SECRET, problem=form.sentences()["overlap"])
    _, overlap = rotation.OVERLAPS[form.cleaned_data["overlap"]]
    try:
        changed = own_webhook.rotate(connection=found, overlap=overlap, actor=request.actor)
    except _ERRORS as error:
        return failed(request, found, error, section=_SECRET)
    until = changed.previous_secret_until
    ends = f" The old one is taken until {until:%-d %b, %H:%M} UTC." if until else ""
    messages.info(request, f"MultiMail has the new secret.{ends}", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
@reauthenticated
def take_secret(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Take a secret that is put into MultiMail by hand. One of the desk's making is shown this one time."""
    found, form = connection_seen(request, connection_id), SecretForm(request.POST)
    if not form.is_valid():
        problem = next(iter(form.sentences().values()))
        return page(request, found, status=422, section=_SECRET, problem=problem)
    given = form.cleaned_data["secret"]
    secret = given or new_secret()
    _, overlap = rotation.OVERLAPS[form.cleaned_data["overlap"]]
    try:
        rights.check_may_change(request.actor, found)
        changed = rotation.take_secret(connection=found, secret=secret, overlap=overlap, actor=request.actor)
    except _ERRORS as error:
        return failed(request, found, error, section=_SECRET)
    if not given:
        return render(request, "approvals/connection_secret.html", {"one": changed, "secret": secret})
    messages.info(request, "The secret is taken from now on.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
@reauthenticated
def end_old_secret(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Take the old secret no more."""
    found = connection_seen(request, connection_id)
    try:
        rotation.end_overlap(connection=found, actor=request.actor)
    except _ERRORS as error:
        return failed(request, found, error, section=_SECRET)
    messages.info(request, "The old secret is taken no more.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)
