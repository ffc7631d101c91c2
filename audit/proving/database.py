"""Checks the whole ledger as it stands in the database, with the code that checks a bundle."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """What a look through the whole ledger found: sentences, the first bad entry first."""

    entries: int
    seals: int
    findings: list[str] = field(default_factory=list)
    # What is told beside them, and does not speak against the ledger.
    notes: list[str] = field(default_factory=list)
    # Entries that no seal covers yet.
    unsealed: int = 0
    # Key of the newest seal, as people compare it; empty without a seal.
    fingerprint: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.findings


def check_database(progress: Callable[[int], None] | None = None) -> Result:
    """Look through all entries and seals in one snapshot; must not be called within a transaction.

    `progress` is called now and then with the number of entries that were looked at.
    """
    raise NotImplementedError
