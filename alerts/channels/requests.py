"""What all channels share to call a service over HTTP: it reads addresses, makes one
request with a time limit, and removes secrets from the answer. Also has the errors that
posting can raise.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from django.conf import settings

from common.exchange import Answer, seconds_asked
from common.origins import origin_of
from outgoing.guarded import TOTAL_TIMEOUT, DeliveryError, request

# A JSON object: the body of a request or of an answer, or a part of one.
Json = dict[str, Any]
# How many characters of a service's answer, and of its headers, the log keeps.
MAX_STORED = 4000
_HEADERS = {"Content-Type": "application/json", "User-Agent": "Countersign/1"}


class NotPosted(Exception):
    """The post was not accepted. `status` and `answer` are what the service answered,
    if it did.
    """

    def __init__(
        self, sentence: str, *, status: int | None = None, answer: str = ""
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.answer = answer


class Refused(NotPosted):
    """The service refused, and would refuse the same request again."""


class DestinationGone(Refused):
    """The destination does not exist any more, or accepts nothing from the desk. The
    caller switches it off.
    """


class CardGone(Refused):
    """The card to edit does not exist any more: somebody deleted it."""


class CardFixed(Refused):
    """The card to edit exists, but the service lets nobody edit it any more. The caller
    posts a new one.
    """


class CardRefused(Refused):
    """The service does not accept this body."""


class RetryLater(NotPosted):
    """Posting failed now, and may work later.

    With `seconds`, everything for this destination waits so long: the service asked for
    it, or the desk's own count shows that its limit is reached. With `whole_service`
    every destination of the same service waits. Without `seconds` it is a failure, and
    the usual back-off applies.
    """

    def __init__(
        self,
        sentence: str,
        *,
        seconds: float | None = None,
        whole_service: bool = False,
        **answered: Any,
    ) -> None:
        super().__init__(sentence, **answered)
        self.seconds = seconds
        self.whole_service = whole_service


def split_address(url: str) -> SplitResult | None:
    """Return the parts of an http or https address; None if it is not one."""
    try:
        parts = urlsplit(url)
        # Raises ValueError for a port that is no number.
        origin_of(url)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def is_allowed(url: str) -> bool:
    """Whether the setting OUTGOING_ALLOW names the address's origin. Such an address may
    be in a private network, use plain http, or be a stand-in for the service in a test.
    """
    return origin_of(url) in {origin_of(one) for one in settings.OUTGOING_ALLOW}


def send(
    method: str,
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str] = {},
    limit: float = TOTAL_TIMEOUT,
) -> Answer:
    """Send one request, and return the answer, whatever its status. It has `limit`
    seconds in all.

    Raises DestinationGone if the desk may not call this address, and RetryLater if no
    answer came.
    """
    try:
        return request(
            method, url, body=body, headers={**_HEADERS, **headers}, limit=limit
        )
    except DeliveryError as error:
        if error.refused:
            raise DestinationGone(str(error)) from error
        raise RetryLater(str(error)) from error


def failure(
    service: str,
    answer: Answer,
    logged: str = "",
    *,
    status: int = 0,
    gone: Container[int] = (),
    refused: Container[int] = (),
) -> NotPosted:
    """Return what to raise for an answer that accepts nothing, by its status, or this
    one; `logged` is the answer for the log.
    """
    status = status or answer.status
    answered: Json = {"status": status, "answer": logged}
    if status == 429:
        seconds = seconds_asked(answer.headers.get("Retry-After"))
        return RetryLater(f"{service} asked to wait.", seconds=seconds, **answered)
    sentence = f"{service} answered {status}."
    if status in gone:
        return DestinationGone(f"{sentence} It accepts nothing there.", **answered)
    if status in refused:
        return CardRefused(f"{sentence} It does not accept this.", **answered)
    return RetryLater(sentence, **answered)


def redacted(
    answer: Answer, secrets: Iterable[str], *, headers: Iterable[str] = ("Retry-After",)
) -> str:
    """Return the named headers and the body, without these secrets, for the log of the
    delivery.
    """
    lines = [
        f"{name}: {answer.headers[name]}" for name in headers if name in answer.headers
    ]
    text = "\n".join([*lines, "", answer.body.decode(errors="replace")]).strip()
    text = text.replace("\0", "\ufffd")
    # Before the text is cut: the cut could leave a part of a secret at the end.
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return text[:MAX_STORED]


def secret_parts(url: str) -> list[str]:
    """Return the parts of an address with which somebody could post there, as written
    and decoded. They are parts, because an answer may spell the signs between them
    differently.
    """
    _, _, address = url.partition("//")
    parts = re.split("[/?&=]", address)[1:]
    # Shorter ones are no secrets, and would be found in any text.
    return [one for one in (*parts, *map(unquote, parts)) if len(one) > 5]


def json_object(answer: Answer) -> Json:
    """Return the JSON object in the body; an empty one if there is none."""
    try:
        result = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return result if isinstance(result, dict) else {}
