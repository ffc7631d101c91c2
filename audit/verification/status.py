"""Ledger status, for the page that says so: how far it is sealed, where heads are kept, what checks found."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from django.contrib.auth import get_user_model
from django.db import connection

from audit.models import Check, Seal
from audit.sealing.status import COUNTED, SealingState, sealing_state
from audit.verifier.countersign_verify import fingerprint_of

SEALS = 25


class Condition(StrEnum):
    """What is most urgent to say."""

    BROKEN = "broken"
    STOPPED = "stopped"
    OFF = "off"
    LATE = "late"
    # Sealed, but not all heads are stored outside the database.
    INSIDE = "inside"
    EMPTY = "empty"
    WELL = "well"


@dataclass(frozen=True)
class HeadLocation:
    """Where heads are stored outside the database, with the newest that is there."""

    kind: str
    place: str
    seal: int
    reference: str
    at: datetime


@dataclass(frozen=True)
class LedgerStatus:
    """The ledger at one moment."""

    sealing: SealingState
    # The last finished check, the running one, and one that was given up after both.
    check: Check | None
    running: Check | None
    given_up: Check | None
    locations: list[HeadLocation]

    @property
    def condition(self) -> Condition:
        state = self.sealing
        if self.is_broken:
            return Condition.BROKEN
        if not state.is_on:
            return Condition.OFF
        if state.is_stopped:
            return Condition.STOPPED
        if state.is_late:
            return Condition.LATE
        if state.last is None:
            return Condition.EMPTY
        return Condition.INSIDE if state.why else Condition.WELL

    @property
    def is_broken(self) -> bool:
        return self.check is not None and self.check.state == Check.State.BROKEN

    @property
    def key(self) -> str:
        """The fingerprint of the key that the newest seal is signed with."""
        last = self.sealing.last
        return last.key_fingerprint if last else ""

    @property
    def next_key(self) -> str:
        """The fingerprint of the key that signs from now on, where it is another."""
        last = self.sealing.last
        return fingerprint_of(last.next_key) if last and last.next_key else ""

    @property
    def unsealed(self) -> str:
        """How many entries no seal covers, as far as they are counted."""
        number = self.sealing.unsealed
        return f"more than {COUNTED:,}" if number > COUNTED else f"{number:,}"

    @property
    def to_check(self) -> int:
        """About how many entries a running check has to go through."""
        last = self.sealing.last
        size = (last.size if last else 0) + self.sealing.unsealed
        return max(size, self.running.entries if self.running else 0)

    @cached_property
    def asked_by(self) -> str:
        """Who asked for the check that is shown; empty for the daily one."""
        asked = self.running or self.check
        if asked is None or asked.asked_by is None:
            return ""
        person = get_user_model()._default_manager.filter(pk=asked.asked_by).first()
        return str(person) if person else f"person {asked.asked_by}"


@dataclass(frozen=True)
class SealRow:
    """A seal, with how many entries it added."""

    seal: Seal
    added: int

    @property
    def key(self) -> str:
        return self.seal.key_fingerprint

    @property
    def next_key(self) -> str:
        return fingerprint_of(self.seal.next_key) if self.seal.next_key else ""


def ledger_status(now: datetime) -> LedgerStatus:
    """Return the ledger's status, by the database's clock."""
    checks = Check.objects.newest_first()
    newest = checks.first()
    given_up = newest if newest and newest.state == Check.State.ENDED else None
    finished, running = checks.finished().first(), checks.running().first()
    return LedgerStatus(sealing_state(now), finished, running, given_up, _head_locations())


def seals_before(number: int | None) -> tuple[list[SealRow], int | None]:
    """Return a page of seals, the newest first, and the number before which the next page begins."""
    seals = Seal.objects.order_by("-number")
    found = list((seals.filter(number__lt=number) if number else seals)[: SEALS + 1])
    sizes = [*(seal.size for seal in found[1:]), 0]
    rows = [SealRow(seal, seal.size - before) for seal, before in zip(found, sizes, strict=False)]
    return rows[:SEALS], found[SEALS - 1].number if len(found) > SEALS else None


# Each location is found by one step in anchor_place, however many heads it holds.
_LOCATIONS = """
WITH RECURSIVE place AS (
  (SELECT kind, place FROM audit_anchor ORDER BY kind, place LIMIT 1)
  UNION ALL
  SELECT next.kind, next.place FROM place, LATERAL (
    SELECT kind, place FROM audit_anchor WHERE (kind, place) > (place.kind, place.place)
     ORDER BY kind, place LIMIT 1) next
)
SELECT place.kind, place.place, newest.seal, newest.reference, newest.at FROM place, LATERAL (
  SELECT seal, reference, at FROM audit_anchor anchor WHERE (anchor.kind, anchor.place) = (place.kind, place.place)
   ORDER BY seal DESC LIMIT 1) newest
 ORDER BY newest.seal DESC, place.place LIMIT 50
"""


def _head_locations() -> list[HeadLocation]:
    with connection.cursor() as cursor:
        cursor.execute(_LOCATIONS)
        return [HeadLocation(*row) for row in cursor.fetchall()]
