"""Who is signed in: the person of a session, with what the sign-in rules ask of them, in one query."""

from functools import cache
from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.db.models import Exists, OuterRef, QuerySet

from people.models import Grant, Person, RoleRule


def with_factor_rule(people: QuerySet[Person]) -> QuerySet[Person]:
    """Say of each of these people, as `needs_factor`, whether a role they have needs a second factor.

    It rides on the query that reads the person anyway, so that a rule holds from the next request on and costs no
    query of its own: by the index on a person's grants, and at most one rule a role.
    """
    return people.annotate(needs_factor=Exists(strict_grants().filter(person=OuterRef("pk"))))


def strict_grants() -> QuerySet[Grant]:
    """Return the grants of those roles that need a second factor."""
    return Grant.objects.filter(role__in=RoleRule.objects.filter(needs_second_factor=True).values("role"))


class PersonBackend(AuthenticationBackend):  # type: ignore[misc]
    """Checks passwords as allauth does; of whoever is signed in it also knows whether a second factor is needed."""

    def get_user(self, user_id: int) -> Person | None:
        sql, values = _one_person()
        person = next(iter(Person.objects.raw(sql, [*values, user_id])), None)
        return person if person is not None and self.user_can_authenticate(person) else None


@cache
def _one_person() -> tuple[str, tuple[Any, ...]]:
    """The query of whoever is signed in, at every request: composing it takes longer than asking it.

    Its last value is the person's key, which is left out.
    """
    sql, values = with_factor_rule(Person.objects.all()).filter(pk=0).query.sql_with_params()
    return sql, values[:-1]
