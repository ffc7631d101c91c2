"""The ledger's status for its page: how far it is sealed, where checkpoints are stored,
and what checks found.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.contrib.auth import get_user_model

from audit.models import Anchor, Check, Seal
from audit.sealing.status import COUNTED, SealingState, sealing_state

SEALS = 25


@dataclass(frozen=True)
class LedgerStatus:
    """The ledger at one moment."""

    sealing: SealingState
    # The last finished check, the running one, and one that was given up after both.
    check: Check | None
    running: Check | None
    given_up: Check | None
    # The newest checkpoint of each location outside the database.
    locations: list[Anchor]

    @property
    def condition(self) -> str:
        """The most urgent state; `inside`: sealed, but not all checkpoints are stored
        outside the database.
        """
        state = self.sealing
        if self.check and self.check.is_broken:
            return "broken"
        if not state.is_on:
            return "off"
        if state.is_stopped:
            return "stopped"
        if state.is_late:
            return "late"
        if state.last is None:
            return "empty"
        return "inside" if state.why else "well"

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


def ledger_status(now: datetime) -> LedgerStatus:
    """Return the ledger's status, by the database's clock."""
    checks = Check.objects.newest_first()
    newest = checks.first()
    given_up = newest if newest and newest.state == Check.State.ENDED else None
    finished = checks.finished().first()
    running = checks.running().first()
    # Two steps in anchor_place find the newest anchor of each location, however many it
    # holds.
    locations: list[Anchor] = []
    for kind in Anchor.Kind.values:
        anchors = Anchor.objects.filter(kind=kind)
        found = anchors.order_by("place").first()
        while found is not None:
            locations += anchors.filter(place=found.place).order_by("-seal")[:1]
            found = anchors.filter(place__gt=found.place).order_by("place").first()
    locations.sort(key=lambda anchor: (-anchor.seal, anchor.place))
    return LedgerStatus(sealing_state(now), finished, running, given_up, locations[:50])


def seals_before(number: int | None) -> tuple[list[Seal], int | None]:
    """Return a page of seals, newest first, and the number that ends the page."""
    seals = Seal.objects.order_by("-number")
    found = list((seals.filter(number__lt=number) if number else seals)[: SEALS + 1])
    return found[:SEALS], found[SEALS - 1].number if len(found) > SEALS else None
