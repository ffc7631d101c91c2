"""The form of the second step of signing in, which takes a code of the authenticator
app or a recovery code. It is also the form to repeat that step before a sensitive act.
"""

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.mfa.base.forms import BaseAuthenticateForm
from allauth.mfa.base.internal.flows import check_rate_limit, post_authentication
from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import messages

from common.pages import CODE_INPUT
from people.models import Person
from people.sign_in.factors import codes_of, is_code, use_code, use_recovery_code
from people.sign_in.sessions import actor_of, record_failure


class SecondStepForm(BaseAuthenticateForm):  # type: ignore[misc]
    """A code. Six digits are a code of the app, everything else is a recovery code.
    Tries are limited as for passwords.
    """

    code = forms.CharField(
        label="Code from your app, or a recovery code",
        max_length=40,
        widget=forms.TextInput({**CODE_INPUT, "autofocus": True}),
        error_messages={"required": "Enter the code."},
    )
    is_repetition = False
    authenticator: Authenticator | None = None

    def clean_code(self) -> str:
        # Tries are counted for each person, in all processes together. A right code
        # resets the count.
        person: Person = self.user
        clear_tries = check_rate_limit(person)
        code: str = self.cleaned_data["code"]
        if is_code(code):
            self.authenticator = use_code(person_id=person.pk, code=code)
            is_accepted = self.authenticator is not None
        else:
            is_accepted = use_recovery_code(
                person=person, actor=actor_of(context.request, person), code=code
            )
        if not is_accepted:
            record_failure(person, reason="second factor")
            raise forms.ValidationError(
                "This code was not accepted. Each code works once: wait for the next one, or use a recovery code."
            )
        clear_tries()
        return code

    def save(self) -> None:
        """Record in the session how the person proved who they are."""
        if self.authenticator is not None:
            post_authentication(
                context.request, self.authenticator, reauthenticated=self.is_repetition
            )
            return
        extra: dict[str, Any] = {"reauthenticated": True} if self.is_repetition else {}
        record_authentication(
            context.request, self.user, "mfa", type="recovery_codes", **extra
        )
        left = codes_of(self.user.pk).left
        notice = f"That recovery code is used; {left} are left. Create new ones under Your account, Second factor."
        messages.warning(context.request, notice, extra_tags="desk")


class RepeatedStepForm(SecondStepForm):
    """The same form, for a person who is signed in and wants to do something
    sensitive.
    """

    is_repetition = True
