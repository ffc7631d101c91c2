"""Forms that admins post about people. Unknown fields are ignored."""

from django import forms

from common.actors import ROLE_CHOICES, Role
from common.forms import always
from people.roles.targets import GrantTargetForm


class SearchForm(forms.Form):
    """Part of a name or an address."""

    q = forms.CharField(required=False, max_length=200, strip=True)


class RoleForm(GrantTargetForm):
    """One role for one target."""

    role = forms.ChoiceField(
        choices=ROLE_CHOICES,
        error_messages=always("Choose a role."),
    )
    place = forms.CharField(
        error_messages={"required": "Choose the scope of the role."}
    )

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class GrantForm(forms.Form):
    """The grant to revoke."""

    grant = forms.IntegerField(min_value=1, max_value=2**62)


class RoleRuleForm(forms.Form):
    """Whether a role needs a second factor."""

    role = forms.ChoiceField(choices=ROLE_CHOICES)
    needed = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])
