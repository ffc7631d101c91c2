"""One HTTP exchange with MultiMail: where it may go, how long and large it may be, and
what its failure means.

It calls only hosts that MultiMail may have, and private addresses only where the
operator named them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from common import exchange as http
from common.exchange import Deadline
from upstream import errors, hosts

CONNECT_TIMEOUT = 3.0
SILENCE_TIMEOUT = 10.0
# All of one exchange, look-up of the name included. Far below the lease of a decision
# (60 s).
TOTAL_TIMEOUT = 20.0


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: bytes | None,
    limit: int,
    deadline: Deadline,
    before_write: Callable[[], None] | None = None,
) -> Answer:
    """Send one request and return the answer, whatever its status, if it has at most
    `limit` bytes.

    Raises NotSent where it is sure that no byte of the request was written,
    OutcomeUnknown for all that comes later. `before_write` is called when the
    connection is there and nothing was written yet; what it raises ends the exchange.
    """
    try:
        reason = hosts.not_allowed_reason(url)
        limits = http.Limits(
            deadline=deadline,
            connect_timeout=CONNECT_TIMEOUT,
            silence_timeout=SILENCE_TIMEOUT,
            may_be_private=hosts.is_named(url),
            before_write=before_write,
        )
        if urlsplit(url).username is not None:
            raise ValueError(
                "a name and password in the address would take the key's place"
            )
    except ValueError:
        raise errors.NotSent("MultiMail's address is not a valid one.") from None
    if reason:
        raise errors.NotSent(reason)
    if body is not None:
        headers = headers | {"Content-Type": "application/json"}
    try:
        with http.exchange(
            method, url, headers=headers, body=body, limits=limits
        ) as response:
            read = bytearray()
            while chunk := http.read_raw(response, min(65536, limit + 1 - len(read))):
                read += chunk
                if len(read) > limit or (response.raw.length_remaining or 0) > limit:
                    raise errors.TooLarge(
                        "MultiMail's answer was too large.", status=response.status_code
                    )
            return Answer(response.status_code, response.headers, bytes(read))
    except http.PrivateAddress as error:
        raise errors.NotSent(
            f"{error} is a private address that is not in OUTGOING_ALLOW."
        ) from None
    except http.NotConnected as error:
        raise errors.NotSent(f"MultiMail could not be reached: {error}.") from None
    except http.TimedOut:
        raise errors.OutcomeUnknown("MultiMail did not answer in time.") from None
    except http.Interrupted:
        raise errors.OutcomeUnknown(
            "The connection to MultiMail broke before its answer was complete."
        ) from None
