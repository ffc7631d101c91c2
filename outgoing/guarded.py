"""Requests to addresses that people typed in, and downloads from addresses that anybody
wrote.

Private targets are refused at connect time; time and size are bounded. For what people
typed in, plain http and private addresses are for the exact origins in OUTGOING_ALLOW
only.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import requests
from django.conf import settings

from common import exchange as http
from common.origins import origin_of

MAX_ANSWER = 64 * 1024
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 10
# Everything together, however slowly the other side lets its answer drip.
TOTAL_TIMEOUT = 20.0


class DeliveryError(Exception):
    """The request got no usable answer. `refused` is True where trying again cannot
    help.
    """

    def __init__(self, sentence: str, *, refused: bool = False) -> None:
        super().__init__(sentence)
        self.refused = refused


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers and at most MAX_ANSWER bytes of body."""

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes


def request(
    method: str,
    url: str,
    *,
    body: bytes,
    headers: dict[str, str],
    allow: Iterable[str] | None = None,
    limit: float = TOTAL_TIMEOUT,
) -> Answer:
    """Send one request and return the answer, whatever its status; redirects are
    answers, not followed.

    `allow` are exact origins that may be private or plain http (default:
    OUTGOING_ALLOW). Raises DeliveryError, at the latest after `limit` seconds.
    """
    allowed = origin_of(url) in {
        origin_of(one) for one in (settings.OUTGOING_ALLOW if allow is None else allow)
    }
    if not url.startswith("https://") and not allowed:
        raise DeliveryError(
            "Only https addresses are allowed, except for the origins in OUTGOING_ALLOW.",
            refused=True,
        )
    limits = http.Limits(
        deadline=http.Deadline.after(limit),
        connect_timeout=CONNECT_TIMEOUT,
        silence_timeout=READ_TIMEOUT,
        may_be_private=allowed,
    )
    try:
        with http.exchange(
            method, url, headers=headers, body=body, limits=limits
        ) as response:
            read = bytearray()
            try:
                while len(read) < MAX_ANSWER and (
                    chunk := http.read_raw(response, MAX_ANSWER - len(read))
                ):
                    read += chunk
            except http.TimedOut as error:
                # Of an answer that is late, what came: its status is known.
                if error.by_silence:
                    raise
            return Answer(response.status_code, response.headers, bytes(read))
    except http.PrivateAddress as error:
        raise DeliveryError(
            f"{error} is a private address, and OUTGOING_ALLOW does not name it.",
            refused=True,
        ) from error
    except http.TimedOut as error:
        seconds = READ_TIMEOUT if error.by_silence else limit
        raise DeliveryError(f"No answer within {seconds:g} seconds.") from error
    except (http.NotConnected, http.Interrupted) as error:
        raise DeliveryError(f"No answer: {error}.") from error


MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Signs that an address may hold as they are: those of RFC 3986, and the percent sign of
# what is encoded already.
_AS_WRITTEN = "%/:?@!$&'()*+,;=~-._[]"


class NotDownloaded(DeliveryError):
    """Nothing usable came: `reason` is address, private, redirects, time or connection;
    `hosts` were named so far.
    """

    def __init__(
        self, reason: str, hosts: Iterable[str], *, refused: bool = False
    ) -> None:
        super().__init__(f"Not downloaded: {reason}.", refused=refused)
        self.reason = reason
        self.hosts = tuple(hosts)


@dataclass(frozen=True)
class Download:
    """The answer at the end of the redirects, and the hosts that were asked; `is_cut`:
    its body is longer.
    """

    status: int
    body: bytes
    hosts: tuple[str, ...]
    is_cut: bool = False


def download(
    url: str,
    *,
    headers: dict[str, str],
    most: int,
    limit: float,
    allow: Collection[str] = (),
) -> Download:
    """Fetch at most `most` bytes of what is at an address that a stranger wrote, in
    `limit` seconds altogether.

    Follows a few redirects, each judged like the first address: the web only, no name
    or password, nothing private, whatever OUTGOING_ALLOW says; only the exact origins
    in `allow` may be. No cookie and no referrer goes along: only `headers`, to each
    host anew. Raises NotDownloaded.
    """
    deadline = http.Deadline.after(limit)
    hosts: list[str] = []
    to = ""
    for _ in range(MAX_REDIRECTS + 1):
        try:
            url = _as_sent(urljoin(url, to))
            hosts.append(urlsplit(url).hostname or "")
            is_allowed = bool(allow) and origin_of(url) in allow
        except ValueError:
            raise NotDownloaded("address", hosts, refused=True) from None
        limits = http.Limits(
            deadline=deadline,
            connect_timeout=CONNECT_TIMEOUT,
            silence_timeout=READ_TIMEOUT,
            may_be_private=is_allowed,
        )
        try:
            with http.exchange(
                "GET", url, headers=headers, body=None, limits=limits
            ) as response:
                status = response.status_code
                to = response.headers.get("Location", "")
                if status in _REDIRECTS and to:
                    continue
                body = bytearray()
                while len(body) <= most and (
                    chunk := http.read_raw(response, most + 1 - len(body))
                ):
                    body += chunk
                return Download(
                    status, bytes(body[:most]), tuple(hosts), is_cut=len(body) > most
                )
        except http.PrivateAddress:
            raise NotDownloaded("private", hosts, refused=True) from None
        except (http.TimedOut, TimeoutError):
            raise NotDownloaded("time", hosts) from None
        except (http.NotConnected, http.Interrupted) as error:
            # The deadline may have passed while the name was looked up or the
            # connection was made.
            is_late = deadline.ends <= time.monotonic()
            raise NotDownloaded("time" if is_late else "connection", hosts) from error
    raise NotDownloaded("redirects", hosts, refused=True)


def _as_sent(url: str) -> str:
    """Return an address with what may not be sent encoded. Raises ValueError for one
    that is not asked.
    """
    parts = urlsplit(url)
    # Reading the port raises for one that is none.
    is_plain = (
        parts.netloc.isprintable() and "@" not in parts.netloc and parts.port != 0
    )
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
        raise ValueError("not an address of the web")
    path = quote(parts.path, _AS_WRITTEN)
    query = quote(parts.query, _AS_WRITTEN)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
