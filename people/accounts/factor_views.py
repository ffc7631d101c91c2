"""The page on which a person looks after their second factors: passkeys, an authenticator app, recovery codes."""

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.encryption import decrypt, encrypt
from common.pages import DeskRequest
from people.errors import CodeNotRight, FactorNotAllowed
from people.factor_forms import AppForm, NameForm
from people.gate import lacks_second_factor
from people.passkey_addresses import passkey_hindrance
from people.qr import picture_of
from people.sign_in import totp as app_codes
from people.sign_in.factors import (
    APP,
    PASSKEY,
    add_app,
    add_passkey,
    factors_of,
    needs_second_factor,
    remove_factor,
    rename_passkey,
)
from people.sign_in.passkeys import PasskeyForm, ask_for_new
from people.sign_in.reauthentication import own_address, reauthenticated
from people.sign_in.recovery_codes import NUMBER, codes_of, make_recovery_codes

_SECRET = "new_app"
_LIST, _APP, _PASSKEY, _CODES = (
    f"people/{name}.html" for name in ("factors", "factor_app", "factor_passkey", "recovery_codes")
)


@login_required
@require_safe
def factors(request: DeskRequest) -> HttpResponse:
    """Show what the person proves themselves with, and what their role needs."""
    return _list(request)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def app(request: DeskRequest) -> HttpResponse:
    """Show the secret for an authenticator app, and take the code that proves that the app has it."""
    # Encrypted also while it waits: sessions are rows of the database.
    kept = request.session.get(_SECRET)
    secret = decrypt(kept) if kept else app_codes.make_secret()
    if request.method != "POST":
        request.session[_SECRET] = encrypt(secret)
        return _app(request, secret)
    form = AppForm(request.POST)
    if not form.is_valid():
        return _app(request, secret, problem=form.first_error())
    try:
        add_app(actor=request.actor, secret=secret, code=form.cleaned_data["code"])
    except (CodeNotRight, FactorNotAllowed) as error:
        return _app(request, secret, problem=error.sentence)
    request.session.pop(_SECRET, None)
    return _added(request, APP.value, "Your authenticator app counts from now on.")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def passkey(request: DeskRequest) -> HttpResponse:
    """Ask the browser for a new passkey, and take it."""
    if request.method != "POST":
        return _passkey(request)
    form = PasskeyForm(request.POST)
    if not form.is_valid():
        return _passkey(request, problem=str(next(iter(form.errors.values()))[0]))
    try:
        add_passkey(actor=request.actor, **form.cleaned_data)
    except FactorNotAllowed as error:
        return _passkey(request, problem=error.sentence)
    return _added(request, PASSKEY.value, "Your passkey is kept. It signs you in by itself.")


@login_required
@require_POST
@reauthenticated
def name_factor(request: DeskRequest, factor_id: int) -> HttpResponse:
    """Give a passkey another name."""
    if not any(one.is_passkey and one.id == factor_id for one in factors_of(request.user.pk)):  # type: ignore[arg-type]
        raise Http404("You have no such passkey.")
    form = NameForm(request.POST)
    if not form.is_valid():
        return _list(request, problem="Type a name of up to 60 letters.", status=422)
    rename_passkey(actor=request.actor, factor_id=factor_id, name=form.cleaned_data["name"])
    return redirect("factors")


@login_required
@require_POST
@reauthenticated
def remove(request: DeskRequest, factor_id: int) -> HttpResponse:
    """Take a factor off."""
    try:
        removed = remove_factor(actor=request.actor, factor_id=factor_id)
    except StopIteration:
        raise Http404("You have no such factor.") from None
    except FactorNotAllowed as error:
        return _list(request, problem=error.sentence, status=409)
    messages.info(request, f"{removed.name} counts no more.", extra_tags="desk")
    return redirect("factors")


@login_required
@require_POST
@reauthenticated
def make_codes(request: DeskRequest) -> HttpResponse:
    """Make recovery codes and show them, this once."""
    try:
        codes = make_recovery_codes(actor=request.actor)
    except FactorNotAllowed as error:
        return _list(request, problem=error.sentence, status=409)
    return render(request, _CODES, {"codes": codes, "frame": _frame(request)})


def _added(request: DeskRequest, kind: str, said: str) -> HttpResponse:
    """Let what was just shown to work count for this session too."""
    record_authentication(request, request.user, "mfa", type=kind)
    if not codes_of(request.user.pk).left:  # type: ignore[arg-type]
        said += " Now make recovery codes, for the day you lose it."
    messages.info(request, said, extra_tags="desk")
    return redirect("factors")


def _list(request: DeskRequest, *, problem: str = "", status: int = 200) -> HttpResponse:
    person: Any = request.user
    found = factors_of(person.pk)
    context = {
        "passkeys": [one for one in found if one.is_passkey],
        "app": next((one for one in found if not one.is_passkey), None),
        "codes": codes_of(person.pk),
        "number": NUMBER,
        "is_needed": needs_second_factor(person),
        "is_stopped": lacks_second_factor(request),
        "hindrance": passkey_hindrance(request),
        "next": own_address(request, request.GET.get("next", "")),
        "problem": problem,
        "frame": _frame(request),
    }
    return render(request, _LIST, context, status=status)


def _app(request: DeskRequest, secret: str, *, problem: str = "") -> HttpResponse:
    address = app_codes.address_of(secret, email=request.user.email)  # type: ignore[union-attr]
    context = {
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "picture": picture_of(address),
        "address": address,
        "problem": problem,
        "frame": _frame(request),
    }
    return render(request, _APP, context, status=422 if problem else 200)


def _passkey(request: DeskRequest, *, problem: str = "") -> HttpResponse:
    context = {
        "options": ask_for_new(request.user),  # type: ignore[arg-type]
        "hindrance": passkey_hindrance(request),
        "name": request.POST.get("name", "")[:60],
        "problem": problem,
        "frame": _frame(request),
    }
    return render(request, _PASSKEY, context, status=422 if problem else 200)


def _frame(request: DeskRequest) -> str:
    """Return the frame around the page: that of the desk, or a bare one for whom the desk is closed until then."""
    return "plain.html" if lacks_second_factor(request) else "base.html"
