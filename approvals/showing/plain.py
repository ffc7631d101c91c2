"""The plain text of a letter: its lines without idle blanks, and the addresses that are written out in it."""

from approvals.showing.links import WRITTEN_OUT, read_link
from approvals.showing.shown import Link

MAX_WRITTEN_OUT = 500


def written_out(text: str, known: set[str]) -> list[Link]:
    """Return the addresses that stand in plain text, which mail programs turn into links by themselves."""
    found: dict[str, Link] = {}
    for match in WRITTEN_OUT.finditer(text):
        url = match.group().rstrip(".,;:!?)")
        target = url if "://" in url[:8].lower() else f"http://{url}"
        if not {url, target} & known and len(found) < MAX_WRITTEN_OUT:
            found.setdefault(target, read_link(url, target, written_out=True))
    return list(found.values())


def tidy(text: str) -> str:
    """Return text with no more than one empty line in a row and no spaces at the ends of lines."""
    lines = [line.strip(" ") for line in text.split("\n")]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(kept).strip()
