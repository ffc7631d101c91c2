"""The limits of remote pictures, and why one is not loaded: a key that its row has, and
the words for its box.
"""

import hashlib
from collections.abc import Iterable, Sequence

from common.time_zones import there, zone_word
from mirror.models import RemotePicture
from rendering import RemotePicture as FoundPicture

MAX_PICTURES = 20
# Bytes of one picture as it comes, and of all of a message; what is stored of them has
# the second limit too.
MAX_BYTES = 2 * 1024 * 1024
MAX_ALL_BYTES = 10 * 1024 * 1024
_State = RemotePicture.State

# Not loaded for good: its server would give the same again.
REFUSALS = {
    "private": "refused: its address, or one that it redirects to, is not one of the open internet",
    "address": "refused: its address, or one that it redirects to, is not one of the web",
    "redirects": "refused: it redirects too often",
    "too_large": "refused: it is larger than 2 MB",
    "too_many": "refused: this message's pictures are larger than 10 MB together",
    "kind": "refused: it is {}, and only PNG, JPEG, GIF and WebP pictures are loaded",
    "pixels": "refused: it claims {} pixels, which would fill the memory",
    "broken": "refused: it is damaged, or cannot be drawn again safely",
    "too_much": "refused: drawing it takes too much memory or time",
    "tiny": "tracking pixel: {} pixels, as the desk found once it was fetched; its server knows that it was",
}
BEYOND = f"only {MAX_PICTURES} pictures of a message are loaded"
# Not loaded this time.
FAILURES = {
    "time": "its server took too long",
    "late": "there was no time left for it",
    "connection": "its server could not be reached",
    "status": "its server answered {}",
    "interrupted": "the worker stopped while it was fetched",
    "busy": "the desk could not draw it at the moment",
    "off": "an admin has switched remote pictures off for this mailbox",
    "stopped": "the kill switch is pulled, so nothing is fetched",
    "changed": "the message changed before it was fetched",
}


def loadable(found: Iterable[FoundPicture]) -> list[FoundPicture]:
    """Return the pictures of a message that may be fetched: no tracking pixels, and not
    more than the limit.
    """
    return [one for one in found if not one.tracking][:MAX_PICTURES]


def key_of(url: str) -> str:
    """Return the key of an address: SHA-256, as an address may be longer than an index
    takes.
    """
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


def outcome_of(row: RemotePicture) -> str:
    """Return what became of a picture, in words for its box."""
    if row.state == _State.LOADED and row.fetched_at is not None:
        at = there(row.fetched_at)
        when = f"{at:%H:%M} {zone_word(row.fetched_at)} on {at:%-d %b}"
        return f"fetched by the desk at {when}; the recipient may see another picture"
    if row.state == _State.DELETED:
        return "fetched by the desk once, and deleted here since: its time was over"
    if row.state in (_State.REFUSED, _State.FAILED):
        return reason_of(row)
    return "being fetched by the desk"


def reason_of(row: RemotePicture) -> str:
    """Return why a picture was not loaded, in words."""
    return (REFUSALS | FAILURES).get(row.reason, "not loaded").format(row.detail)


def hosts_in_words(hosts: Sequence[str]) -> str:
    """Return hosts with how often each was named, for the ledger: no more than these
    are kept of an address.
    """
    return ", ".join(f"{host} ({hosts.count(host)})" for host in dict.fromkeys(hosts))
