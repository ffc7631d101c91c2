"""Lists for the tests that every act leaves an entry in the ledger: which forms and
tasks leave none and why, and which are covered by a test of their own (doors.txt and
tasks.txt).

`tests/integration/test_permissions.py` sends every form and `test_ledger_complete.py`
runs every task. Each one that is in none of these lists must leave an entry there.
"""

from audit.actions import SETTINGS
from audit.models import Entry
from audit.trail import lines
from tests.doors import DOORS, TASKS, marked

NO_ACTS = marked("quiet", DOORS)
# Addresses that only show or hand out something, with the entry that they leave.
READS = marked("leaves", DOORS)
PROVED = marked("proved", DOORS)
AT_MULTIMAIL = set(marked("at", DOORS))
QUIET_TASKS = marked("quiet", TASKS)
PROVED_TASKS = marked("proved", TASKS)


def last_entry():
    return Entry.objects.newest_first().values_list("pk", flat=True).first() or 0


def told_since(last):
    return lines(Entry.objects.filter(pk__gt=last).oldest_first())


def what_told_lacks(told):
    """Yield what is missing in the ledger lines that one act on a page left."""
    for entry in told:
        details = entry.details
        if not entry.surface or not entry.trace:
            yield f"{entry.action}: surface {entry.surface!r}, trace {entry.trace!r}"
        if entry.actor_kind == "person" and (entry.surface, details.get("address")) != (
            "web",
            "127.0.0.1",
        ):
            yield f"{entry.action}: by a person through {entry.surface} from {details.get('address')!r}"
        if entry.action in SETTINGS and not (
            details.get("before") and details.get("after")
        ):
            yield f"{entry.action}: before {details.get('before')!r}, after {details.get('after')!r}"
        elif entry.action in SETTINGS and details["before"] == details["after"]:
            yield f"{entry.action}: nothing is different"
    if "person" not in [line.actor_kind for line in told]:
        yield "no entry of what a person did"
