"""Tells pictures that are there to be seen from tracking pixels, by what the message
says of them. Nothing is loaded.

A tracking pixel tells its server who opened the message and when. One that cannot be
told before is found to be tiny once it was fetched.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from urllib.parse import unquote

# Pixels of each side up to which nobody sees a picture.
MAX_PIXEL = 2
MAX_ADDRESS = 2000
# So many readers are looked for in an address; a message with more is no personal one.
MAX_READERS = 50
# Letters and digits in a row that are no word: as long as what half a SHA-256 leaves.
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_FEW_TURNS = 3
_IN_BASE64 = re.compile(r"[A-Za-z0-9+_-]{12,400}")
_PIXELS = re.compile(r"\s{0,20}([0-9]{1,6}(?:\.[0-9]{1,6})?)\s{0,20}(?:px)?\s{0,20}")
_FILE = re.compile(r"\.(?:png|jpe?g|gif|webp)$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:(https?):)?[/\\]{2,}([^/\\?#]+)([^#]*)", re.IGNORECASE)
_LEFT_OUT = re.compile(r"[\t\n\r]")
_AROUND = "".join(map(chr, range(33)))


def web_address(url: str) -> str:
    """Return the address under which a browser would load `url` from the web, without
    its fragment.

    Empty for other schemes, for an address with a name or password in it, and for one
    that is too long.
    """
    found = _ADDRESS.fullmatch(_LEFT_OUT.sub("", url).strip(_AROUND).partition("#")[0])
    if (
        found is None
        or len(url) > MAX_ADDRESS
        or re.search(r"[\s@%]", found[2])
        or not found[0].isprintable()
    ):
        return ""
    path, mark, query = found[3].partition("?")
    path = path.replace("\\", "/") or "/"
    return f"{(found[1] or 'https').lower()}://{found[2].lower()}{path}{mark}{query}"


def needles(readers: Iterable[str]) -> frozenset[str]:
    """Return what an address holds that names one of these readers: their mail
    addresses, and hashes of these.
    """
    known = [
        reader.strip().lower() for reader in [*readers][:MAX_READERS] if "@" in reader
    ]
    hashes = (hashlib.md5, hashlib.sha1, hashlib.sha256)
    digests = (
        make(one.encode(), usedforsecurity=False).hexdigest()
        for one in known
        for make in hashes
    )
    return frozenset([*known, *digests])


def tracking_reason(
    url: str, attributes: Mapping[str, str], readers: frozenset[str]
) -> str:
    """Return why a picture seems to be a tracking pixel, in words; empty where nothing
    says so.

    `readers` are the needles of those who read the message.
    """
    declared = [
        _PIXELS.fullmatch(attributes.get(name, "")) for name in ("width", "height")
    ]
    sizes = [float(size[1]) for size in declared if size]
    if sizes and (max(sizes) <= MAX_PIXEL or min(sizes) == 0):
        words = (f"{float(size[1]):g}" if size else "?" for size in declared)
        return f"{' × '.join(words)} pixels"
    text = unquote(unquote(url))
    decoded = [one for one in map(_decoded, _IN_BASE64.findall(text)) if "@" in one]
    if any(reader in one for one in (text.lower(), *decoded) for reader in readers):
        return "its address names the recipient"
    path, _, query = unquote(url.partition("://")[2].partition("/")[2]).partition("?")
    is_file = _FILE.search(path) and any(size > MAX_PIXEL for size in sizes)
    # Pictures at their hosts are often files with such names; those that are made to be
    # seen have a size.
    if _has_code(query) or (not is_file and _has_code(path)):
        return "its address holds a code that can tell who opened the message"
    return ""


def _decoded(text: str) -> str:
    """Return what a part of an address says in base64, in lower case; empty where it
    says nothing.
    """
    try:
        is_for_urls = "-" in text or "_" in text
        padded = text + "=" * (-len(text) % 4)
        raw = base64.b64decode(padded, b"-_" if is_for_urls else None, validate=True)
        return raw.decode().lower()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _has_code(text: str) -> bool:
    """Whether there is a UUID, a long number, or letters and digits that take turns as
    in no word.
    """
    if _UUID.search(text):
        return True
    for run in _RUN.findall(text):
        turns = sum(a.isdigit() != b.isdigit() for a, b in pairwise(run))
        if run.isdigit() or turns >= _FEW_TURNS:
            return True
    return False
