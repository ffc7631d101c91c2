"""What every program is asked alike: one request that is bounded, and an answer that can be kept."""

import math
from collections.abc import Iterable

from alerts.channels.outcomes import DestinationGone, Later
from outgoing.guarded import Answer, DeliveryError, request

# Of an answer so much is kept for the log.
MOST_KEPT = 4000
_HEADERS = {"Content-Type": "application/json", "User-Agent": "Countersign/1"}
_LONGEST_WAIT, _USUAL_WAIT = 3600.0, 30.0


def ask(url: str, body: bytes, *, headers: dict[str, str] | None = None, limit: float) -> Answer:
    """Post once and return the answer, whatever its status. Raises Later where none came."""
    try:
        return request("POST", url, body=body, headers={**_HEADERS, **(headers or {})}, limit=limit)
    except DeliveryError as error:
        if error.refused:
            raise DestinationGone(str(error)) from error
        raise Later(str(error)) from error


def for_log(answer: Answer, hidden: Iterable[str]) -> str:
    """Return what came back, without what would let somebody post there, should it be repeated."""
    text = answer.body.decode(errors="replace").replace("\0", "\ufffd")
    for secret in filter(None, hidden):
        text = text.replace(secret, "…")
    return text[:MOST_KEPT]


def asked_to_wait(answer: Answer) -> float:
    """Return the seconds that a 429 asks for."""
    try:
        seconds = float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return _USUAL_WAIT
    return min(max(seconds, 1.0), _LONGEST_WAIT) if math.isfinite(seconds) else _USUAL_WAIT


def no_answer_in_words(later: Later, who: str) -> str:
    """Return, for somebody who waits, why there is no answer."""
    if "within" in str(later) or "Timeout" in str(later):
        return f"{who} did not answer in time. Look whether it is up, and test again."
    return f"{who} could not be reached. Look whether the address is right and this machine reaches it, and test again."
