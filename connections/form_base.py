"""What the forms of this folder share: errors by field as sentences, and the code that an operator may want first."""

from django import forms


class AdminForm(forms.Form):
    """A form whose page shows each error at its field."""

    def sentences(self) -> dict[str, str]:
        """Return the first thing that is wrong with each field, by its name."""
        return {str(name): str(errors[0]) for name, errors in self.errors.items() if errors}


class ConfirmedForm(AdminForm):
    """A form whose change may want the code of whoever runs MultiMail; it is entered on the second try."""

    approval_code = forms.CharField(
        required=False, max_length=40, error_messages={"max_length": "A code has at most 40 characters."}
    )
