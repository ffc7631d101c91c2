"""Passkeys of people: what a browser is asked for to make one, and what it answers. Loads what reads them: 5 MB."""

import json
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AuthenticateWebAuthnForm, LoginWebAuthnForm, ReauthenticateWebAuthnForm
from allauth.mfa.webauthn.internal import auth
from django import forms
from django.core.exceptions import ValidationError
from fido2.webauthn import RegistrationResponse

from people.models import Person

# What reading an answer raises that no browser would give.
_UNREADABLE = (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError)


class PasskeyForm(forms.Form):
    """A new passkey as the browser made it, with the name that its person gives it."""

    name = forms.CharField(max_length=60, required=False)
    credential = forms.JSONField(max_length=20_000)

    def clean_name(self) -> str:
        return str(self.cleaned_data["name"]).strip() or "Passkey"

    def clean_credential(self) -> dict[str, Any]:
        """Check that it answers what this session asked, and that the device asked who is there."""
        credential = self.cleaned_data["credential"]
        try:
            RegistrationResponse.from_dict(credential)
            made = auth.complete_registration(credential)
        except (*_UNREADABLE, ValidationError) as error:
            raise ValidationError("The browser's answer was not accepted. Press the button again.") from error
        if not made.is_user_verified():
            raise ValidationError("This device does not ask who uses it. Set a PIN, a finger or a face on it first.")
        return dict(credential)


def ask_for_new(person: Person) -> str:
    """Return what the browser is asked for, as JSON: a passkey that is kept on the device and asks who uses it."""
    return json.dumps(auth.begin_registration(person, passwordless=True))


class _AnswerForm(forms.Form):
    """An answer with a passkey, of whatever form: one that cannot be read is wrong, and no mistake of ours."""

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except _UNREADABLE as error:
            raise ValidationError("This passkey was not accepted. Try it again.") from error


class SignInForm(_AnswerForm, LoginWebAuthnForm):  # type: ignore[misc]
    """A passkey in the place of a password."""


class StepPasskeyForm(_AnswerForm, AuthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey after a password."""


class AgainPasskeyForm(_AnswerForm, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey before a sensitive act."""
