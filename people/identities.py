"""Which accounts count as one person.

Whoever can read a link can open it. So an account whose password a link set counts as
its own person and as everybody who could read that link, until it has a second factor,
which the link does not give, or until an operator confirms it. Approvals and changes
that take several people ask here, and not for different accounts.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.db.models import F, Min, Q

from people.models import Invitation, Person

# Later than anything that has happened.
_NOW = datetime.max.replace(tzinfo=UTC)


class Identities:
    """Who may act with which account. Reads the database once, at the first question
    about anybody.
    """

    @cached_property
    def _links(self) -> dict[int, list[Any]]:
        """By account, of each link that set its password: who could read it, when it
        was used, and since when the account has a second factor.
        """
        not_confirmed = Q(person__confirmed_at=None) | Q(
            person__confirmed_at__lt=F("accepted_at")
        )
        used = Invitation.objects.that_set_passwords().filter(not_confirmed)
        links = used.annotate(factor_since=Min("person__authenticator__created_at"))
        by_account = defaultdict(list)
        for account, *link in links.values_list(
            "person", "known_to", "accepted_at", "factor_since"
        ):
            by_account[account].append(link)
        return by_account

    @cached_property
    def _people(self) -> dict[int, Person]:
        return Person.objects.in_bulk()

    def behind(self, *accounts: int, at: datetime = _NOW) -> frozenset[int]:
        """Return who may act with one of these accounts now, or may have at a moment:
        the accounts, who could read a link of theirs, and who may act with these.
        """
        behind = set[int]()
        left = list(accounts)
        while left:
            account = left.pop()
            if account in behind:
                continue
            behind.add(account)
            for known_to, used_at, factor_since in self._links.get(account, ()):
                if used_at <= at and not (factor_since and factor_since <= at):
                    left += known_to
        return frozenset(behind)

    def same_as(self, accounts: Iterable[int]) -> frozenset[int]:
        """Return these accounts and all that count as one person with one of them."""
        behind = self.behind(*accounts)
        if not behind:
            return behind
        others = (one for one in self._links if not behind.isdisjoint(self.behind(one)))
        return behind.union(others)

    def others_behind(self, account: int) -> str:
        """Return the names of the others whom an account counts as; empty if it counts
        as nobody else.
        """
        others = self.behind(account) - {account}
        return ", ".join(sorted(str(self._people[one]) for one in others))

    def why_one(
        self, account: int, others: Iterable[int], did: str, *, at: datetime = _NOW
    ) -> str:
        """Return why somebody counts as one person with one of these others, and what to
        do, as a sentence; empty if they do not. `did` says what that one did, `at` when.
        """
        for other in others:
            own = self.behind(account)
            if other == account or own.isdisjoint(self.behind(other, at=at)):
                continue
            name = self._people[other]
            why = (
                f"your link set the password of {name}, who has to set a second factor before that."
                if own == {account}
                else "somebody else's link set your password. Set a second factor first, under Your account."
            )
            return f"{name} {did}, and you two count as one person: {why}"
        return ""
