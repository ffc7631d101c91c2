"""What the desk works out of a content while the mirror stores it: findings, queue columns, the version before.

The mirror knows neither policy nor decisions. The review desk registers its examiner when Django starts
(docs/adr/0018); the mirror only calls it, in the transaction that stores the content.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from common.fingerprint import Content
from mirror.models import Message


class Examiner(Protocol):
    """What the review desk answers about a content that is being stored."""

    def version_before(self, message: Message) -> Message | None:
        """Return the message whose request for changes this one answers; None where there is none."""

    def findings(self, message: Message, content: Content, *, may_have_left: bool) -> list[dict[str, Any]]:
        """Return what is risky about the content, worst first, as it is stored with the revision."""

    def queue_columns(
        self, message: Message, content: Content, findings: Iterable[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the columns of a message that the queue sorts, filters and searches by."""


_examiners: list[Examiner] = []


def register(examiner: Examiner) -> None:
    """Have this examiner asked from now on, instead of the one before."""
    _examiners[:] = [examiner]


def examiner() -> Examiner:
    """Return the registered examiner."""
    return _examiners[0]
