"""The mark that the desk adds to a decision's reason when it sends that to MultiMail:
who decided, and the reference by which the desk recognises its own decision later.
"""

import re

# A mark in the text of a reason. The first form is older and did not name the person.
_MARK = re.compile(
    r"(?<!\s)\s*+(?:\[countersign:([0-9A-Z]{1,24})\]"
    r"|\([^()]{1,100} via Countersign, reference ([0-9A-Z]{1,24})\))"
    # Blanks before another mark are part of that one.
    r"(?:\s++(?![(\[]))?"
)
_REFERENCE = re.compile(r"[0-9A-Z]{1,24}")
_VIA = " via Countersign"
# Characters at the end of a reason in which marks are searched. The desk's own reasons
# are shorter.
_READ = 4_000
# These would make a name end the mark early, or let it be decoded as an encoded word.
_NOT_IN_NAMES = re.compile(r"(?:[()\s\x00-\x1f\x7f]|=\?)+")


def with_reference(reason: str, reference: str, who: str) -> str:
    """Return a decision's reason with its mark, as it is sent to MultiMail: “Fine. (Ana
    via Countersign, reference 7K)”.
    """
    return f"{reason} ({via(who)}, reference {reference})".strip()


def via(who: str) -> str:
    """Return the name of the person who decided as it is sent to MultiMail: “Ana via
    Countersign”.
    """
    return f"{_NOT_IN_NAMES.sub(' ', who[:200]).strip()[:80] or 'Somebody'}{_VIA}"


def with_reported(reason: str, reference: object, who: str) -> str:
    """Return a reason that MultiMail reported, with its mark. Our gateway reports the
    `reference` in a field of its own, so the mark is added again, as the desk sent it.
    """
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        return reason
    return with_reference(reason, reference, who.removesuffix(_VIA))


def references_in(reason: str) -> list[str]:
    """Return the references in all marks of a reason."""
    return [mark[1] or mark[2] for mark in _MARK.finditer(reason[-_READ:])]


def split_reference(reason: str) -> tuple[str, str]:
    """Return a reason without the mark at its end, and the reference in that mark;
    either may be empty.
    """
    for mark in _MARK.finditer(reason, max(0, len(reason) - _READ)):
        if mark.end() == len(reason):
            return reason[: mark.start()], mark[1] or mark[2]
    return reason, ""


def without_references(reason: str) -> str:
    """Return a reason without its marks: only the words that somebody wrote."""
    return (reason[:-_READ] + _MARK.sub(" ", reason[-_READ:])).strip()


def is_reference(reason: str) -> bool:
    """Whether the reason is only a mark, so nobody wrote any words."""
    return len(reason) <= _READ and bool(_MARK.fullmatch(reason))
