"""Loads the signed-in person of every request with their roles, checks passwords, and
tells whether one of a person's roles needs a second factor.
"""

from allauth.account.auth_backends import AuthenticationBackend
from django.db.models import prefetch_related_objects

from people.models import Person, RoleRule


def needs_second_factor(person: Person) -> bool:
    """Whether one of the person's roles needs a second factor."""
    roles = {grant.role for grant in person.grants.all()}
    return not roles.isdisjoint(roles_that_need_it())


def roles_that_need_it() -> set[str]:
    """Return the roles that need a second factor."""
    return set(
        RoleRule.objects.filter(needs_second_factor=True).values_list("role", flat=True)
    )


class PersonBackend(AuthenticationBackend):  # type: ignore[misc]
    """Checks passwords as allauth does, and loads the signed-in person with their
    roles.
    """

    def get_user(self, user_id: int) -> Person | None:
        person: Person | None = super().get_user(user_id)
        if person is not None:
            prefetch_related_objects([person], "grants")
        return person
