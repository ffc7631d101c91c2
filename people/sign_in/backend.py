"""Loads a session's person, with their roles and whether one of these needs a second factor, for every request."""

from allauth.account.auth_backends import AuthenticationBackend
from django.db.models import Exists, OuterRef, QuerySet

from people.models import Grant, Person, RoleRule


def with_second_factor_rule(people: QuerySet[Person]) -> QuerySet[Person]:
    """Annotate people with `needs_factor`: whether a role they have needs a second factor.

    It is part of the query that loads the person, so that a rule applies from the next request on without a
    query of its own. It uses the index on a person's grants, and there is at most one rule for each role.
    """
    return people.annotate(needs_factor=Exists(_grants_that_need_it().filter(person=OuterRef("pk"))))


def needs_second_factor(person: Person) -> bool:
    """Whether one of the person's roles needs a second factor; no query if the backend loaded the person."""
    known: bool | None = getattr(person, "needs_factor", None)
    return _grants_that_need_it().filter(person=person).exists() if known is None else known


def _grants_that_need_it() -> QuerySet[Grant]:
    return Grant.objects.filter(role__in=RoleRule.objects.filter(needs_second_factor=True).values("role"))


class PersonBackend(AuthenticationBackend):  # type: ignore[misc]
    """Checks passwords as allauth does, and loads the signed-in person with the second-factor rule."""

    def get_user(self, user_id: int) -> Person | None:
        known = with_second_factor_rule(Person.objects.prefetch_related("grants"))
        person = known.filter(pk=user_id).first()
        return person if person is not None and self.user_can_authenticate(person) else None
