"""The plain text of a letter: its lines without idle blanks, and the addresses that are written out in it."""

from common.domains import has_known_suffix
from rendering.links import WRITTEN_OUT, read_link
from rendering.shown import Link

MAX_WRITTEN_OUT = 500


def written_out(text: str, known: set[str]) -> list[Link]:
    """Return the addresses that stand in plain text, which mail programs turn into links by themselves."""
    found: dict[str, Link] = {}
    for match in WRITTEN_OUT.finditer(text):
        link = _read(match.group())
        if not {link.text, link.target} & known and len(found) < MAX_WRITTEN_OUT:
            found.setdefault(link.target, link)
    return list(found.values())


def _read(url: str) -> Link:
    url = url.rstrip(".,;:!?)。")
    link = read_link(url, url if "://" in url[:8].lower() else f"http://{url}", written_out=True)
    if "disguised_dot" in link.flags and "。" in url and not has_known_suffix(link.host):
        # The full stop of a sentence that goes on without a space.
        return _read(url.rpartition("。")[0])
    return link


def tidy(text: str) -> str:
    """Return text with no more than one empty line in a row and no spaces at the ends of lines."""
    lines = [line.strip(" ") for line in text.split("\n")]
    kept = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(kept).strip()
