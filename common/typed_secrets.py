"""Saves the keys and secrets of a form that had an error, so that nobody has to type
them again to correct another field.

The HTML of a form never has them, because a page may be cached, saved to disk or read by
an extension of the browser. They stay on the server instead, for ten minutes: encrypted
like stored keys, for this person, under a ticket that the form sends back.
"""

import json
import secrets

from django import forms
from django.core.cache import cache
from django.http import QueryDict

from common.encryption import decrypt, encrypt, uses_newest_key
from common.pages import DeskRequest, DrawnForm, posted

_SECONDS = 600
_TICKET = "secrets"


def _place(request: DeskRequest, ticket: str) -> str:
    return f"secrets:{request.actor.id}:{ticket}"


def posted_with_secrets(request: DeskRequest) -> QueryDict | None:
    """Return what a form sent, with the saved secrets where it sent none; None if its
    page was opened.
    """
    sent = posted(request)
    ticket = request.POST.get(_TICKET, "")
    token = cache.get(_place(request, ticket)) if ticket.isalnum() else None
    if sent is None or token is None or not uses_newest_key(token):
        return sent
    typed = sent.copy()
    for name, secret in json.loads(decrypt(token)).items():
        typed[name] = typed.get(name) or secret
    return typed


def save_secrets(request: DeskRequest, form: DrawnForm) -> None:
    """Save the secrets of a form that is shown again, but for those that are wrong. Of
    a form that is shown for the first time there are none.
    """
    typed = {}
    for field in form.visible_fields():
        if field.widget_type == "password" and field.data and not field.errors:
            typed[field.name] = field.data
            # Only how it is shown.
            field.field.required = False
            field.help_text = (
                f"Saved for ten minutes: leave it empty to use it. {field.help_text}"
            )
    if not typed:
        return
    ticket = secrets.token_hex(16)
    cache.set(_place(request, ticket), encrypt(json.dumps(typed)), _SECONDS)
    form.fields[_TICKET] = forms.CharField(widget=forms.HiddenInput)
    form.show(_TICKET, ticket)
