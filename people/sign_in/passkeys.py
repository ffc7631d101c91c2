"""Passkeys: at which addresses browsers allow them, the options to make one, and the
forms that check what browsers answer.

The library that parses the answers needs 5 MB of memory, so only modules of lazy views
(`people.lazy_views`) import this one.
"""

import ipaddress
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from allauth.mfa.webauthn.internal import auth
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host
from fido2.webauthn import AuthenticationResponse, RegistrationResponse

from common.pages import SentenceForm
from people.models import Person

# How many seconds a browser has to answer a page's challenge.
CHALLENGE_SECONDS = 600
# What the library raises for a malformed answer, which no browser sends.
_UNREADABLE = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    IndexError,
    OverflowError,
)


@dataclass(frozen=True)
class Hindrance:
    """Why passkeys do not work at this address, and the address to use instead."""

    sentence: str
    address: str = ""


def passkey_hindrance(request: HttpRequest) -> Hindrance | None:
    """Return why browsers refuse passkeys at this request's address, or None if they
    allow them. Passkeys need localhost, or a host name and https.
    """
    host, port = split_domain_port(request.get_host())
    try:
        is_loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
        if host == "localhost" or host.endswith(".localhost") or request.is_secure():
            return None
    if not is_loopback:
        return Hindrance(
            "Passkeys need a host name and https. Ask the operator of this desk for that address."
        )
    sentence = "Passkeys need a host name, and this address is an IP address."
    if request.is_secure() or not validate_host("localhost", settings.ALLOWED_HOSTS):
        return Hindrance(sentence)
    localhost = f"localhost:{port}" if port else "localhost"
    return Hindrance(sentence, f"http://{localhost}{request.path}")


class PasskeyForm(SentenceForm):
    """A new passkey from the browser, with the name that the person gives it."""

    name = forms.CharField(
        max_length=60,
        required=False,
        help_text="Helps you tell your passkeys apart.",
        widget=forms.TextInput({"placeholder": "My phone", "autofocus": True}),
    )
    credential = forms.JSONField(max_length=20_000)

    def clean_name(self) -> str:
        return str(self.cleaned_data["name"]).strip() or "Passkey"

    def clean_credential(self) -> dict[str, Any]:
        """Check that the answer fits this session's challenge, and that the device
        verified its user.
        """
        credential = self.cleaned_data["credential"]
        try:
            answer = RegistrationResponse.from_dict(credential).response
            with only_try(answer.client_data.origin):
                registered = auth.complete_registration(credential)
        except (*_UNREADABLE, ValidationError) as error:
            raise ValidationError(
                "The browser's answer was not accepted. Press the button again."
            ) from error
        if not registered.is_user_verified():
            raise ValidationError(
                "This device does not verify its user. Set a PIN, fingerprint or face on it first."
            )
        return dict(credential)


def registration_options(person: Person) -> str:
    """Return as JSON what to ask of the browser: a passkey that stays on the device,
    and that verifies its user each time.
    """
    options = auth.begin_registration(person, passwordless=True)
    date_challenge()
    return json.dumps(options)


def date_challenge() -> None:
    """Store in the session, with its new challenge, when that was made."""
    auth.set_state({**auth.get_state(), "made_at": time.time()})


@contextmanager
def only_try(origin: str) -> Iterator[None]:
    """Check an answer from a page of `origin` inside this block. Afterwards the session
    has no challenge any more, so each challenge allows one try.

    Raises ValidationError for an answer that comes too late, or from another origin
    than this request's and PUBLIC_URL. The library alone would also accept subdomains, other ports
    and, on localhost, plain http.
    """
    try:
        request = context.request
        made_at = (auth.get_state() or {}).get("made_at", 0)
        is_late = time.time() - made_at > CHALLENGE_SECONDS
        # A proxy may have added a port to the host, or taken it away.
        own = (settings.PUBLIC_URL, f"{request.scheme}://{request.get_host()}")
        if is_late or origin not in own:
            raise ValidationError("This passkey was not accepted. Try again.")
        yield
    finally:
        auth.clear_state()


class _AnswerForm(forms.Form):
    """A form for a passkey's answer. A malformed answer is a validation error, not a
    server error.
    """

    def clean_credential(self) -> Authenticator:
        credential = self.cleaned_data["credential"]
        try:
            answer = AuthenticationResponse.from_dict(credential).response
            with only_try(answer.client_data.origin):
                return super().clean_credential()  # type: ignore[misc]
        except _UNREADABLE as error:
            raise ValidationError(
                "This passkey was not accepted. Try again."
            ) from error


class SignInForm(_AnswerForm, LoginWebAuthnForm):  # type: ignore[misc]
    """A passkey that signs in instead of a password."""


class StepPasskeyForm(_AnswerForm, AuthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey as the second step after a password."""


class RepeatedPasskeyForm(_AnswerForm, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey that confirms who one is before a sensitive act."""
