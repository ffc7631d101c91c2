"""Converts times of the API: ISO 8601 in UTC with a Z, and milliseconds since 1970 for
accounts, mailboxes, contacts and periods of usage.
"""

from datetime import UTC, datetime
from typing import overload


@overload
def iso(moment: datetime) -> str: ...
@overload
def iso(moment: datetime | None) -> str | None: ...
def iso(moment: datetime | None) -> str | None:
    """Return `moment` as text such as 2026-11-20T08:15:00.123Z."""
    if not moment:
        return None
    return (
        moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        + "Z"
    )


def epoch_milliseconds(moment: datetime) -> int:
    """Return `moment` as milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def parse_iso(text: object) -> datetime:
    """Return the moment that `text` names. Raises ValueError unless it is ISO 8601 and
    ends in Z.
    """
    try:
        if not isinstance(text, str) or not text.endswith("Z"):
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "must be a time in UTC such as 2026-11-20T08:15:00Z."
        ) from None
    # Cut to milliseconds, because answers have no more digits: the client gets back the
    # time that it sent.
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


def parse_loosely(text: str) -> datetime:
    """Return the time in a filter. Any ISO 8601 is accepted: a date alone means its
    midnight, and a time without a zone is UTC. Raises ValueError.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a time such as 2026-11-20T08:15:00Z, or a date."
        ) from None
