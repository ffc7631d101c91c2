"""Sends HTTP requests to addresses that people typed in, such as webhooks.

A request that would connect to a private address is refused, and so is plain http,
except for the origins in the setting OUTGOING_ALLOW. Its time and the size of its
answer are limited.
"""

from collections.abc import Iterable
from contextlib import suppress

import requests
from django.conf import settings
from urllib3.exceptions import HTTPError

from common import exchange as http
from common.exchange import Answer
from common.origins import origin_of

# In bytes.
MAX_ANSWER = 64 * 1024
# In seconds: to connect, and without receiving anything.
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 10
# In seconds, for the whole exchange, however slowly the answer arrives.
TOTAL_TIMEOUT = 20.0


class DeliveryError(Exception):
    """The request got no usable answer. `refused` is True if the desk may not call this
    address, so trying again cannot help.
    """

    def __init__(self, sentence: str, *, refused: bool = False) -> None:
        super().__init__(sentence)
        self.refused = refused


class TooLate(DeliveryError):
    """No answer came in time."""


def request(
    method: str,
    url: str,
    *,
    body: bytes,
    headers: dict[str, str],
    allow: Iterable[str] | None = None,
    limit: float = TOTAL_TIMEOUT,
    most: int = MAX_ANSWER,
) -> Answer:
    """Send one request and return the answer, whatever its status, with at most `most`
    bytes of its body; redirects are answers, not followed.

    `allow` names the origins that may be private or plain http; by default those of
    OUTGOING_ALLOW. Raises DeliveryError, after `limit` seconds at the latest.
    """
    try:
        origin = origin_of(url)
    except ValueError:
        raise DeliveryError("The address is not valid.", refused=True) from None
    allowed = origin in {
        origin_of(one) for one in (settings.OUTGOING_ALLOW if allow is None else allow)
    }
    if not origin.startswith("https://") and not allowed:
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
            # The status is known, so a body that does not end is enough as far as it is.
            with suppress(http.TimedOut, HTTPError, OSError):
                while len(read) < most and (
                    chunk := http.read_raw(response, most - len(read))
                ):
                    read += chunk
            return Answer(response.status_code, response.headers, bytes(read))
    except http.PrivateAddress as error:
        raise DeliveryError(
            f"{error} is a private address, and OUTGOING_ALLOW does not name it.",
            refused=True,
        ) from error
    except http.TimedOut as error:
        seconds = READ_TIMEOUT if error.by_silence else limit
        raise TooLate(f"No answer within {seconds:g} seconds.") from error
    except (http.NotConnected, http.Interrupted) as error:
        is_late = isinstance(error.__cause__, (requests.Timeout, TimeoutError))
        failed = TooLate if is_late else DeliveryError
        raise failed(f"No answer: {error}.") from error
