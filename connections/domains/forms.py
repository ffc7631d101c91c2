"""What admins fill in about domains."""

from django import forms

from connections.form_base import AdminForm


class DomainForm(AdminForm):
    """A domain to claim. Whether it can be had is for MultiMail to say."""

    domain = forms.CharField(
        max_length=253,
        error_messages={
            "required": "Say which domain, such as example.com.",
            "max_length": "A domain has at most 253 characters.",
        },
    )
