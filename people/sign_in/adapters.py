"""Sign-in through django-allauth: nobody signs up by themselves, people are invited."""

from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from common import encryption
from people.sign_in.limits import LimitedAdapter

_WAYS = {
    "reauthenticate": ("Use your password", "key"),
    "mfa_reauthenticate": ("Use a code of your app", "shield"),
    "mfa_reauthenticate:webauthn": ("Use a passkey", "person"),
}


class AccountAdapter(LimitedAdapter):
    """Closes sign-up, and answers in the desk's words; everything else is allauth's own."""

    error_messages = LimitedAdapter.error_messages | {
        "email_password_mismatch": "The email address or the password is not right.",
        "incorrect_password": "This is not your password.",
        "too_many_login_attempts": "Too many tries that failed. Wait a few minutes, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def populate_username(self, request: HttpRequest, user: Any) -> None:
        """People have no user name here."""

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        """Say that a deactivated person does not come in, by whatever proof: a passkey, a provider."""
        return render(request, "account/inactive.html", status=403)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return the ways to confirm who one is, in the desk's words; for who has no other, the provider."""
        ways = [
            {**way, "description": words, "icon": icon}
            for way in super().get_reauthentication_methods(user)
            for words, icon in [_WAYS[way["id"]]]
        ]
        if ways or not user.is_authenticated:
            return ways
        return _by_provider()


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Keeps secrets of second factors encrypted, and answers in the desk's words."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This was not accepted. Try it again.",
    }

    def encrypt(self, text: str) -> str:
        return encryption.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return encryption.decrypt(encrypted_text)


def _by_provider() -> list[dict[str, Any]]:
    """Return the way over the sign-in provider, where there is one: whoever has no password comes back through it."""
    if not settings.OIDC_ISSUER:
        return []
    return [
        {
            "id": "provider",
            "description": f"Use {settings.OIDC_NAME}",
            "icon": "link",
            "url": reverse("oidc-login"),
        }
    ]
