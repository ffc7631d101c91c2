"""The mark behind the reviewer's words at MultiMail, by which a decision of the desk is found again."""

import re

_MARK = re.compile(r"\s*(\[countersign:([0-9A-Z]{1,24})\])\s*")


def with_reference(reason: str, reference: str) -> str:
    """Return what MultiMail is told as the reason of a decision."""
    return f"{reason} [countersign:{reference}]".strip()


def references_in(reason: str) -> list[str]:
    """Return the references of decisions that a reason names."""
    return [found[2] for found in _MARK.finditer(reason)]


def split_reference(reason: str) -> tuple[str, str]:
    """Return the words that somebody wrote, and the mark at their end; either may be empty."""
    last = next((found for found in _MARK.finditer(reason) if found.end() == len(reason)), None)
    return (reason[: last.start()], last[1]) if last else (reason, "")


def without_references(reason: str) -> str:
    """Return the words that somebody wrote: the mark is for the desk alone."""
    return _MARK.sub(" ", reason).strip()


def is_reference(reason: str) -> bool:
    """Whether nobody wrote any words."""
    return bool(_MARK.fullmatch(reason))
