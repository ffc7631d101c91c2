"""The pages of signing in and out: password, passkey, the second step, and confirming
by a code or passkey who one is. They adapt django-allauth's views.
"""

import json
from typing import Any

from allauth.account.forms import LoginForm
from allauth.account.views import LoginView
from allauth.mfa.base.views import AuthenticateView, ReauthenticateView
from allauth.mfa.webauthn.views import LoginWebAuthnView, ReauthenticateWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from people.models import Person
from people.sign_in.factors import codes_of, factors_of
from people.sign_in.passkeys import date_challenge, passkey_hindrance
from people.sign_in.reauthentication import PasswordField, what_waits
from people.sign_in.sessions import access_changed, record_failure

_NOT_ACCEPTED = (
    "This passkey was not accepted. Try again, or sign in with your password."
)


class DeskLoginForm(LoginForm):  # type: ignore[misc]
    """Address and password. An error of both stands at the address, where the focus is."""

    password = PasswordField(missing="Enter your password.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs = {
            "autocomplete": "username",
            "autofocus": True,
        }

    def add_error(self, field: str | None, error: Any) -> None:
        super().add_error(field or "login", error)


class DeskLoginView(LoginView):  # type: ignore[misc]
    """The sign-in page, with every method that this desk offers at this address."""

    form_class = DeskLoginForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {
            "hindrance": passkey_hindrance(self.request),
            "provider": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
        }


class PasskeyLoginView(LoginWebAuthnView):  # type: ignore[misc]
    """Gives the sign-in page's script the options for a passkey, and checks the
    passkey's answer, which also says who the person is.
    """

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        if response.status_code == 200:
            date_challenge()
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        record_failure(None, reason="passkey")
        messages.error(self.request, _NOT_ACCEPTED, extra_tags="door")
        address = reverse("account_login")
        if next_url := self.request.POST.get("next"):
            address += f"?{urlencode({'next': next_url})}"
        return redirect(address)


class CodeAgainView(ReauthenticateView):  # type: ignore[misc]
    """Asks for a code of the app before a sensitive act."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | what_waits(self.request)

    def form_invalid(self, form: Any) -> HttpResponse:
        response: HttpResponse = self.render_to_response(
            self.get_context_data(form=form), status=422
        )
        return response


class StepView(AuthenticateView):  # type: ignore[misc]
    """The second step, after a password or the provider: a code of the app, a passkey,
    or a recovery code.
    """

    form_invalid = CodeAgainView.form_invalid

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        person = self.stage.login.user
        own_factors = factors_of(person.pk)
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context |= {
            "has_app": any(not one.is_passkey for one in own_factors),
            "has_codes": bool(codes_of(person.pk).left),
            "options": "",
            "hindrance": passkey_hindrance(self.request),
        }
        if any(one.is_passkey for one in own_factors):
            date_challenge()
            context["options"] = json.dumps(context["js_data"]["request_options"])
        return context


class PasskeyAgainView(ReauthenticateWebAuthnView):  # type: ignore[misc]
    """Asks for a passkey before a sensitive act."""

    form_invalid = CodeAgainView.form_invalid

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        date_challenge()
        return {
            **context,
            **what_waits(self.request),
            "options": json.dumps(context["js_data"]["request_options"]),
            "hindrance": passkey_hindrance(self.request),
            "error": _NOT_ACCEPTED if self.request.method == "POST" else "",
        }


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session, and have the browser delete what it stored of the desk."""
    person = request.user.pk
    logout(request)
    # Only after the session is deleted: the live streams of other open pages then check
    # it, and would otherwise find it valid.
    access_changed.send(sender=Person, person=person)
    response = redirect("account_login")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
