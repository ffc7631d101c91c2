"""The mark behind the reviewer's words at MultiMail: who decided, and by which
reference the desk knows it again.
"""

import re

# The first is how it was written before people were named.
_MARK = re.compile(
    r"(?<!\s)\s*+(?:\[countersign:([0-9A-Z]{1,24})\]"
    r"|\([^()]{1,100} via Countersign, reference ([0-9A-Z]{1,24})\))\s*+"
)
_REFERENCE = re.compile(r"[0-9A-Z]{1,24}")
_VIA = " via Countersign"
_NOT_IN_NAMES = re.compile(r"(?:[()\s\x00-\x1f\x7f]|=\?)+")


def with_reference(reason: str, reference: str, who: str) -> str:
    """Return what MultiMail is told as a decision's reason, such as “Fine. (Ana via
    Countersign, reference 7K)”.
    """
    return f"{reason} ({via(who)}, reference {reference})".strip()


def via(who: str) -> str:
    """Return the decider's name as it is sent to MultiMail: a person, through this
    desk.
    """
    return f"{_NOT_IN_NAMES.sub(' ', who).strip()[:80] or 'Somebody'}{_VIA}"


def with_reported(reason: str, reference: object, who: str) -> str:
    """Return a reported reason with the reference that our gateway reports apart from
    it, as it was sent.
    """
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        return reason
    return with_reference(reason, reference, who.removesuffix(_VIA))


def references_in(reason: str) -> list[str]:
    """Return the references of decisions that a reason names."""
    return [found[1] or found[2] for found in _MARK.finditer(reason)]


def split_reference(reason: str) -> tuple[str, str]:
    """Return the words that somebody wrote, and the reference at their end; either may
    be empty.
    """
    last = next(
        (found for found in _MARK.finditer(reason) if found.end() == len(reason)), None
    )
    return (reason[: last.start()], last[1] or last[2]) if last else (reason, "")


def without_references(reason: str) -> str:
    """Return the words that somebody wrote: the mark is for the desk alone."""
    return _MARK.sub(" ", reason).strip()


def is_reference(reason: str) -> bool:
    """Whether nobody wrote any words."""
    return bool(_MARK.fullmatch(reason))
