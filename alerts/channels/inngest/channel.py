"""Speaks to Inngest's event API: one event a request, with an id by which a second one is dropped.

Whoever has the event key can post, and it is part of the address: no sentence and no log tells it.
"""

import json
from urllib.parse import urlsplit

from alerts.channels.endpoints import problem_with_inngest
from alerts.channels.http import ask, asked_to_wait, for_log
from alerts.channels.outcomes import CardRefused, DestinationGone, Later, Posted
from outgoing.guarded import Answer

_GONE = (401, 403, 404, 410)
# What is wrong with the event itself stays wrong.
_REFUSED = (400, 406, 409, 412, 413, 422)
IN_WORDS = {
    400: "Inngest did not accept the event. Look whether the address is one that events are posted to.",
    401: "Inngest does not know this event key. Look under Manage, Event Keys, and put the address in whole.",
    403: "Inngest takes nothing from us by this key. Look under Manage, Event Keys, whether it is limited to some "
    "events or addresses.",
    404: "Inngest knows no such event key: it was deleted, or the address is not whole. Look under Manage, Event Keys.",
    413: "Inngest found the event too large.",
}


def post(url: str, body: bytes, *, limit: float) -> Posted:
    """Post one event, and return the id that Inngest gave it."""
    if problem := problem_with_inngest(url):
        # What was let in may have been allowed by an origin that is allowed no more.
        raise DestinationGone(problem)
    answer = ask(url, body, limit=limit)
    kept = for_log(answer, (urlsplit(url).path.rpartition("/")[2],))
    if 200 <= answer.status < 300:
        return Posted(_id_given(answer), answer.status, answer=kept)
    if answer.status == 429:
        raise Later("Inngest asked to wait.", seconds=asked_to_wait(answer), status=429, answer=kept)
    sentence = f"Inngest answered {answer.status}."
    if answer.status in _GONE:
        raise DestinationGone(f"{sentence} It does not take this event key.", status=answer.status, answer=kept)
    if answer.status in _REFUSED:
        raise CardRefused(f"{sentence} It does not take this event.", status=answer.status, answer=kept)
    raise Later(sentence, status=answer.status, answer=kept)


def _id_given(answer: Answer) -> str:
    """Return the id in an answer such as {"ids": ["01H..."], "status": 200}; empty where it is no such answer."""
    try:
        ids = json.loads(answer.body)["ids"]
        return ids[0][:64] if isinstance(ids[0], str) else ""
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
