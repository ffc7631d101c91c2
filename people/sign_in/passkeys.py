"""Passkeys: where browsers allow them, the options to make one, and the forms that
check the answers.

The library that parses answers needs 5 MB, so only modules of lazy views import this.
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

from people.models import Person

# How long a page's challenge can be answered.
CHALLENGE_SECONDS = 600
# Errors of parsing a malformed answer, which no browser sends.
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
    """Return why browsers refuse passkeys at this address: they need localhost, or a
    host name and https.
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
            "Passkeys need a host name and https. Ask whoever runs this desk for that address."
        )
    sentence = "Passkeys need a host name, and this address is an IP address."
    if request.is_secure() or not validate_host("localhost", settings.ALLOWED_HOSTS):
        return Hindrance(sentence)
    there = f"localhost:{port}" if port else "localhost"
    return Hindrance(sentence, f"http://{there}{request.path}")


class PasskeyForm(forms.Form):
    """A new passkey from the browser, with the name that the person gives it."""

    name = forms.CharField(max_length=60, required=False)
    credential = forms.JSONField(max_length=20_000)

    def clean_name(self) -> str:
        return str(self.cleaned_data["name"]).strip() or "Passkey"

    def clean_credential(self) -> dict[str, Any]:
        """Check that it answers this session's challenge, and that the device verified
        its user.
        """
        credential = self.cleaned_data["credential"]
        try:
            answer = RegistrationResponse.from_dict(credential).response
            with only_try(answer.client_data.origin):
                made = auth.complete_registration(credential)
        except (*_UNREADABLE, ValidationError) as error:
            raise ValidationError(
                "The browser's answer was not accepted. Press the button again."
            ) from error
        if not made.is_user_verified():
            raise ValidationError(
                "This device does not verify its user. Set a PIN, fingerprint or face on it first."
            )
        return dict(credential)


def registration_options(person: Person) -> str:
    """Return the registration options as JSON: a passkey that stays on the device and
    verifies its user.
    """
    options = auth.begin_registration(person, passwordless=True)
    date_challenge()
    return json.dumps(options)


def date_challenge() -> None:
    """Store with the session's new challenge when it was made."""
    auth.set_state({**auth.get_state(), "made_at": time.time()})


@contextmanager
def only_try(origin: str) -> Iterator[None]:
    """Check an answer from a page of `origin` inside this block; afterwards the session
    has no challenge any more.

    Raises ValidationError for an answer that comes too late, or from any other origin
    than this request's: the library also accepts those of subdomains, other ports and,
    on localhost, plain http.
    """
    try:
        request = context.request
        made_at = (auth.get_state() or {}).get("made_at", 0)
        is_late = time.time() - made_at > CHALLENGE_SECONDS
        if is_late or origin != f"{request.scheme}://{request.get_host()}":
            raise ValidationError("This passkey was not accepted. Try again.")
        yield
    finally:
        auth.clear_state()


class _AnswerForm(forms.Form):
    """A passkey answer. A malformed one is a validation error, not a server error."""

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
    """A passkey instead of a password."""


class StepPasskeyForm(_AnswerForm, AuthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey after a password."""


class RepeatedPasskeyForm(_AnswerForm, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey before a sensitive act."""
