"""The points that the published rules count: those that admins gave them."""

from django.db import connection as database

from approvals.models import RuleWeight

# The key of an advisory lock; other locks use other keys.
WEIGHTS_LOCK = (7_304, 1)


def weights_in_force() -> dict[str, int]:
    """Return the points of the rules that admins weighed.

    In a transaction it keeps everybody from weighing a rule until that ends: what is stored by these points is there
    when the held ones are weighed again.
    """
    if database.in_atomic_block:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", WEIGHTS_LOCK)
    return weights_to_show()


def weights_to_show() -> dict[str, int]:
    """Return the same for a page, which keeps nobody waiting."""
    weighed = RuleWeight.objects.exclude(points=None).values_list("rule", "points")
    return {rule: points for rule, points in weighed if points is not None}
