"""Who is signed in: the person of a session, and whether a role of theirs needs a second factor, in one query."""

from functools import cache
from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.db.models import Exists, OuterRef, QuerySet

from people.models import Grant, Person, RoleRule


def with_second_factor_rule(people: QuerySet[Person]) -> QuerySet[Person]:
    """Annotate people with `needs_factor`: whether a role they have needs a second factor.

    It is part of the query that reads the person anyway, so that a rule holds from the next request on and costs no
    query of its own: by the index on a person's grants, and at most one rule a role.
    """
    return people.annotate(needs_factor=Exists(_grants_that_need_it().filter(person=OuterRef("pk"))))


def needs_second_factor(person: Person) -> bool:
    """Whether a role that the person has needs a second factor; without a query where the backend read the person."""
    known: bool | None = getattr(person, "needs_factor", None)
    return _grants_that_need_it().filter(person=person).exists() if known is None else known


def _grants_that_need_it() -> QuerySet[Grant]:
    return Grant.objects.filter(role__in=RoleRule.objects.filter(needs_second_factor=True).values("role"))


class PersonBackend(AuthenticationBackend):  # type: ignore[misc]
    """Checks passwords as allauth does, and reads whoever is signed in together with the second factor rule."""

    def get_user(self, user_id: int) -> Person | None:
        sql, values = _one_person()
        person = next(iter(Person.objects.raw(sql, [*values, user_id])), None)
        return person if person is not None and self.user_can_authenticate(person) else None


@cache
def _one_person() -> tuple[str, tuple[Any, ...]]:
    """Return the query of whoever is signed in, without its last value, the key: composing costs more than asking."""
    sql, values = with_second_factor_rule(Person.objects.all()).filter(pk=0).query.sql_with_params()
    return sql, values[:-1]
