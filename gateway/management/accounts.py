"""For the management commands: finds the account that an operator names."""

from django.core.management import CommandError
from django.db.models import QuerySet

from gateway.models import Account


def account_named(slug: str, accounts: QuerySet[Account]) -> Account:
    """Return the one of `accounts` with this slug. Raises CommandError, which lists
    their slugs, if there is none.
    """
    found = accounts.filter(slug=slug).first()
    if not found:
        known = ", ".join(accounts.order_by("slug").values_list("slug", flat=True)[:20])
        raise CommandError(
            f"There is no account named {slug}. There are: {known or 'none'}."
        )
    return found
