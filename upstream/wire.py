"""Sends one HTTP request to MultiMail and returns the answer. It limits time and size,
and turns a failure into an error that says whether the request may have had an effect.

It calls only the addresses that hosts.py allows, and private ones only if the operator
named them.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from common import exchange as http
from common.exchange import Answer, Deadline
from upstream import errors, hosts

# In seconds.
CONNECT_TIMEOUT = 3.0
SILENCE_TIMEOUT = 10.0
# For the whole exchange, including the look-up of the name. Far below the lease of a
# decision (60 s).
TOTAL_TIMEOUT = 20.0


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

    Raises NotSent if it is certain that no byte of the request was written, and
    OutcomeUnknown for every later failure. `before_write` is called when the connection
    is made and nothing has been written; an exception from it ends the exchange.
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
            content = bytearray()
            while chunk := http.read_raw(
                response, min(65536, limit + 1 - len(content))
            ):
                content += chunk
                if len(content) > limit or (response.raw.length_remaining or 0) > limit:
                    raise errors.TooLarge(
                        "MultiMail's answer was too large.", status=response.status_code
                    )
            return Answer(response.status_code, response.headers, bytes(content))
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
