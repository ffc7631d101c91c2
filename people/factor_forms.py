"""What people send about their second factors."""

from django import forms


class AppForm(forms.Form):
    """The code that an authenticator app shows."""

    code = forms.CharField(max_length=20, error_messages={"required": "Type the code that the app shows."})

    def first_error(self) -> str:
        return str(next(iter(self.errors.values()))[0])


class NameForm(forms.Form):
    """A name for a passkey."""

    name = forms.CharField(max_length=60)


class RoleRuleForm(forms.Form):
    """Whether a role needs a second factor."""

    role = forms.ChoiceField(choices=[(one, one) for one in ("reviewer", "admin", "auditor")])
    needed = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])
