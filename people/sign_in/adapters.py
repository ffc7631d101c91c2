"""Adapts django-allauth to the desk: no sign-up, exceeded rate limits are answered 429,
secrets are encrypted, and messages use the desk's words.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from common import encryption
from common.addresses import network_of
from people.sign_in.known_browsers import know, known_browser
from people.sign_in.reauthentication import too_many
from people.sign_in.sessions import client_ip

# By allauth's name of a method: what its link says, and its icon.
_METHODS = {
    "reauthenticate": ("Use your password", "key"),
    "mfa_reauthenticate": ("Use a code from your app", "shield"),
    "mfa_reauthenticate:webauthn": ("Use a passkey", "person"),
}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Closes sign-up, counts attempts by the client's address behind trusted proxies
    and apart for known browsers, and uses the desk's messages.
    """

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "The email address or password is wrong.",
        "incorrect_password": "This is not your password.",
        "too_many_login_attempts": "Too many failed attempts. Wait a few minutes, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        """Refuse a deactivated person, also with a passkey or a provider."""
        return render(request, "account/inactive.html", status=403)

    get_client_ip = staticmethod(client_ip)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count an attempt until it succeeds. Raises an error if there were too many."""
        super().pre_authenticate(request, **credentials)
        email = credentials.get("email", "")
        if not known_browser(request, email):
            # Guesses from many addresses.
            self._of_strangers = ratelimit.consume(
                request,
                app="allauth.account",
                action="login_failed_of_strangers",
                key=email.lower(),
            )
            if not self._of_strangers:
                raise ImmediateHttpResponse(
                    too_many(request, "login_failed_of_strangers")
                )

    def _rollback_login_failed_rl_usage(self) -> None:
        super()._rollback_login_failed_rl_usage()
        if of_strangers := getattr(self, "_of_strangers", None):
            of_strangers.rollback()

    def _get_login_attempts_cache_key(
        self, request: HttpRequest, **credentials: Any
    ) -> str:
        email = credentials.get("email", "")
        client = known_browser(request, email) or network_of(client_ip(request))
        return f"{email.lower()} {client}"

    def post_login(
        self, request: HttpRequest, user: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page to go to, and let the browser be known."""
        response: HttpResponse = super().post_login(request, user, **kwargs)
        know(response, user.email)
        return response

    def validation_error(self, code: str, *args: Any) -> ValidationError:
        if code in ("too_many_login_attempts", "rate_limited"):
            # allauth would show an error in the form instead of answering 429.
            raise ImmediateHttpResponse(too_many(context.request, "login_failed"))
        error: ValidationError = super().validation_error(code, *args)
        return error

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return the methods of reauthentication, in the desk's words. The provider is
        one only for people without any other.
        """
        methods = []
        for method in super().get_reauthentication_methods(user):
            description, icon = _METHODS[method["id"]]
            methods.append({**method, "description": description, "icon": icon})
        if not methods and user.is_authenticated and settings.OIDC_ISSUER:
            methods.append(
                {
                    "id": "provider",
                    "description": f"Use {settings.OIDC_NAME}",
                    "icon": "link",
                    "url": reverse("oidc-login"),
                }
            )
        return methods


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Encrypts the secrets of second factors, and uses the desk's messages."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This was not accepted. Try again."
    }

    encrypt = staticmethod(encryption.encrypt)
    decrypt = staticmethod(encryption.decrypt)
