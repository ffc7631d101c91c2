"""What stood on a sheet of messages to decide together, signed: nothing is decided by it that was not on it.

Pure. The sheet travels through the browser of the person whom it was shown to, and is worth nothing to anybody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core import signing

from common.identifiers import uuid7
from mirror.errors import DeskError

# A page of the queue has as many rows.
MAX_ITEMS = 50
# As long as anybody stays signed in.
LASTS = timedelta(hours=12)
_SALT = "approvals.bulk.sheets"


class SheetNotOurs(DeskError):
    """What was posted is no sheet of this person's, or names something that was not on it."""


@dataclass(frozen=True)
class OnSheet:
    """One message as it stood there. Not `can_approve`: for that it must be opened by itself; `why` says why."""

    message: UUID
    fingerprint: str
    can_approve: bool = True
    why: str = ""


@dataclass(frozen=True)
class Sheet:
    """A sheet that was shown: its id, which the ledger repeats with each verdict, and what stood on it, in order."""

    id: str
    items: tuple[OnSheet, ...]

    def only(self, ticked: Sequence[tuple[str, str]]) -> tuple[OnSheet, ...]:
        """Return what was ticked, named by id and fingerprint. Raises SheetNotOurs for what was not on the sheet."""
        asked = set(ticked)
        found = tuple(item for item in self.items if (str(item.message), item.fingerprint) in asked)
        if len(found) != len(asked):
            raise SheetNotOurs("Something was ticked that was not on this sheet, so nothing was decided. Open it anew.")
        return found


def new_sheet(items: Sequence[OnSheet]) -> Sheet:
    """Return a sheet of its own id."""
    return Sheet(uuid7().hex, tuple(items))


def sign_sheet(sheet: Sheet, *, person: str) -> str:
    """Return the sheet as text for this person's browser."""
    items = [[item.message.hex, item.fingerprint, item.why if not item.can_approve else 0] for item in sheet.items]
    return signing.dumps([person, sheet.id, items], salt=_SALT, compress=True)


def read_sheet(signed: str, *, person: str) -> Sheet:
    """Return the sheet again. Raises SheetNotOurs where it is another person's, too old, or not from here."""
    try:
        whose, sheet, items = signing.loads(signed, salt=_SALT, max_age=LASTS)
    except signing.BadSignature:
        whose, sheet, items = "", "", ()
    if not person or whose != person:
        raise SheetNotOurs("This sheet is too old to decide from, so nothing was decided. Open it anew.")
    return Sheet(sheet, tuple(OnSheet(UUID(key), print_, not why, why or "") for key, print_, why in items))
