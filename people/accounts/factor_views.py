"""The pages on which a person manages their own second factors: passkeys, an
authenticator app, recovery codes.

Importing this module loads 7 MB of libraries; `people.lazy_views` does that at the
first request.
"""

from base64 import b64encode
from io import BytesIO
from typing import Any
from urllib.parse import quote

import qrcode
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django import forms
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_POST, require_safe
from qrcode.image.svg import SvgPathFillImage

from common.encryption import decrypt, encrypt
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    FormInvalid,
    SentenceForm,
    answer,
    changes,
    cleaned,
    redirect_with_notice,
    require_get_or_post,
)
from people.errors import FactorNotAllowed
from people.sign_in import factors
from people.sign_in.backend import needs_second_factor
from people.sign_in.factors import RECOVERY_CODES, codes_of, make_recovery_codes
from people.sign_in.passkeys import PasskeyForm, passkey_hindrance, registration_options
from people.sign_in.reauthentication import own_address, reauthenticated
from people.sign_in.sessions import end_other_sessions

# In the session: the secret of an app that has not been confirmed yet, encrypted.
_SECRET = "new_app"


class AppForm(SentenceForm):
    """The code that an authenticator app shows, typed to confirm the app."""

    code = forms.CharField(
        max_length=20,
        widget=forms.TextInput(
            {
                "class": "mono code-input",
                "inputmode": "numeric",
                "autocomplete": "one-time-code",
            }
        ),
        error_messages={"required": "Enter the code from the app."},
    )


@require_get_or_post
@reauthenticated
def app(request: DeskRequest) -> HttpResponse:
    """Show the secret for an authenticator app; after a post, check the code that
    proves that the app has the secret, and add the app.
    """
    # The pending secret is encrypted too: sessions are stored in the database.
    encrypted = request.session.get(_SECRET)
    secret = decrypt(encrypted) if encrypted else generate_totp_secret()
    form = AppForm(request.POST or None)
    if not form.is_valid():
        request.session[_SECRET] = encrypt(secret)
        return _app(request, secret, form)
    try:
        factors.add_app(actor=request.actor, secret=secret, **form.cleaned_data)
    except FactorNotAllowed as error:
        form.add_error("code", error.sentence)
        return _app(request, secret, form)
    request.session.pop(_SECRET, None)
    return _added(request, factors.APP, "Your authenticator app is set up.")


@require_get_or_post
@reauthenticated
def passkey(request: DeskRequest) -> HttpResponse:
    """Ask the browser for a new passkey, and store it."""
    if request.method != "POST":
        return _passkey(request)
    try:
        typed = cleaned(PasskeyForm(request.POST))
        factors.add_passkey(actor=request.actor, **typed)
    except (FactorNotAllowed, FormInvalid) as error:
        return _passkey(request, error)
    return _added(
        request,
        factors.PASSKEY,
        "Your passkey is saved. It signs you in without a password.",
    )


def _added(request: DeskRequest, kind: str, notice: str) -> HttpResponse:
    """Record in the session that the new factor was just proved, and go back to the
    list. The first factor ends the other sessions, which began without one.
    """
    record_authentication(request, request.user, "mfa", type=kind)
    if len(factors.factors_of(request.actor.person_id)) == 1:
        end_other_sessions(
            actor=request.actor, this_key=str(request.session.session_key)
        )
    if not codes_of(request.user.pk).left:  # type: ignore[arg-type]
        notice += " Now create recovery codes, in case you lose it."
    return redirect_with_notice(request, notice, "factors")


def _list(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the person's second factors, and whether their role needs one."""
    person: Any = request.user
    own_factors = factors.factors_of(person.pk)
    context = {
        "frame": _frame(request),
        "passkeys": [one for one in own_factors if one.is_passkey],
        "app": next((one for one in own_factors if not one.is_passkey), None),
        "codes": codes_of(person.pk),
        "number": RECOVERY_CODES,
        "is_needed": needs_second_factor(person),
        "is_stopped": factors.lacks_second_factor(request),
        "hindrance": passkey_hindrance(request),
        "next": own_address(request, request.GET.get("next", "")),
    }
    return answer(request, "people/factors.html", context, error)


list_factors = require_safe(_list)


_changes = changes(_list, to="factors")


@require_POST
@reauthenticated
@_changes
def remove(request: DeskRequest, factor_id: int) -> str:
    """Remove one of the person's second factors."""
    try:
        removed = factors.remove_factor(actor=request.actor, factor_id=factor_id)
    except StopIteration:
        raise Http404("You have no such second factor.") from None
    return f"{removed.name} is removed."


@require_POST
@reauthenticated
@_changes
def make_codes(request: DeskRequest) -> HttpResponse:
    """Make recovery codes and show them once."""
    codes = make_recovery_codes(actor=request.actor)
    context = {"frame": _frame(request), "codes": codes}
    return answer(request, "people/recovery_codes.html", context)


def _app(request: DeskRequest, secret: str, form: AppForm) -> HttpResponse:
    account = quote(f"Countersign:{request.user.email}")  # type: ignore[union-attr]
    uri = f"otpauth://totp/{account}?secret={secret}&issuer=Countersign"
    svg = BytesIO()
    # A data: URI needs no file, script or style. Black on white in every colour scheme,
    # so that cameras can read it.
    qrcode.make(uri, image_factory=SvgPathFillImage, box_size=12, border=3).save(svg)
    context = {
        "frame": _frame(request),
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "picture": f"data:image/svg+xml;base64,{b64encode(svg.getvalue()).decode()}",
        "address": uri,
        "form": form,
    }
    return answer(request, "people/factor_app.html", context, form=form)


def _passkey(request: DeskRequest, error: SentenceError | None = None) -> HttpResponse:
    context = {
        "frame": _frame(request),
        "options": registration_options(request.user),  # type: ignore[arg-type]
        "hindrance": passkey_hindrance(request),
        "form": PasskeyForm(initial=request.POST.dict()),
    }
    return answer(request, "people/factor_passkey.html", context, error)


def _frame(request: DeskRequest) -> str:
    """Return the layout of a page: a bare one for people who must add or prove a factor
    first.
    """
    return "plain.html" if factors.lacks_second_factor(request) else "base.html"
