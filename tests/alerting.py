"""A stand-in for Discord's webhooks in the process of the tests, with Discord's rate
limits and with errors that a test asks for.

It records every request, so that tests can check what was sent, how often and in which
order. Also runs the delivery worker within a test.
"""

import contextlib
import json
import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from alerts.deliveries.deliver import deliver as deliver_next
from alerts.deliveries.drain import drain, with_something_due
from alerts.models import Delivery, Destination, Route
from tests import factories
from tests.discord_limits import find_errors
from tests.serving import standing_in
from tests.stack import wait_for

_PATH = re.compile(
    r"/api/webhooks/(?P<id>[0-9]+)/[\w-]+(/messages/(?P<message>[0-9]+))?"
)
# Seconds.
LONG = 60
# Alerts do not depend on a message's content.
make_message = partial(factories.make_message, hydrated=False)


@dataclass(frozen=True)
class Call:
    """One request, and how it was answered."""

    method: str
    path: str
    webhook: str
    status: int
    body: dict[str, Any]

    @property
    def title(self):
        """The title of the embed."""
        return str(self.body["embeds"][0].get("title", ""))

    @property
    def alert(self):
        """The footer, with the alert's number, by which a repeated post is seen."""
        return str(self.body["embeds"][0].get("footer", {}).get("text", ""))


@dataclass
class Discord:
    """The state of the stand-in. Webhooks go by number, and each number exists. `posts`
    maps a post's id to its webhook and body. `next` has by webhook the answers to its
    next requests: (status, headers, body).
    """

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    posts: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    next: dict[str, list[tuple[int, dict[str, str], Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    # By webhook: how many answers are lost after the request was carried out.
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    # (requests, seconds) of a webhook's two limits: the one that the headers tell, and
    # a hidden one.
    bucket_limit: tuple[int, float] = (1000, 1.0)
    channel_limit: tuple[int, float] = (1000, 1.0)
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)
    _request_times: dict[str, list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def destination(self, number, *, actions=(), **fields):
        """Make a destination for a webhook, with a route for these actions."""
        url = f"{self.url}/api/webhooks/{number}/token"
        made = Destination.objects.create(name=f"#{number}", url=url, **fields)
        if actions:
            Route.objects.create(destination=made, actions=list(actions))
        return made

    def of(self, number, *statuses):
        """The requests of one webhook: all, or those answered with these statuses."""
        return [
            call
            for call in self.calls
            if call.webhook == str(number) and (not statuses or call.status in statuses)
        ]

    def posts_in(self, number):
        """The posts that people see in the channel of a webhook."""
        return [body for webhook, body in self.posts.values() if webhook == str(number)]

    def answer(self, method, path, body):
        """Answer a request as Discord does, or as the test wants. Return the webhook's
        number, the status, the headers and the body.
        """
        match = _PATH.fullmatch(urlsplit(path).path)
        webhook, message = (match["id"], match["message"]) if match else ("?", "")
        with self._lock:
            status, headers, reply = self._answer(webhook, message, body)
            self.calls.append(Call(method, path, webhook, status, body))
        return webhook, status, headers, reply

    def _answer(self, webhook, message, body):
        if self.next[webhook]:
            return self.next[webhook].pop(0)
        wait, headers = self._limit(webhook)
        if wait:
            return 429, headers, {"retry_after": wait, "global": False}
        if errors := find_errors(body):
            return 400, headers, {"code": 50035, "errors": errors}
        if message and message not in self.posts:
            return 404, headers, {"code": 10008, "message": "Unknown Message"}
        key = message or str(10**17 + len(self.calls))
        self.posts[key] = (webhook, body)
        return 200, headers, {"id": key, "channel_id": f"9{webhook}"}

    # Counts a request. Returns how long to wait (0.0 if it is allowed), and the
    # headers.
    def _limit(self, webhook):
        now, (most, window) = time.monotonic(), self.bucket_limit
        start, used = self._windows.get(webhook, (now, 0))
        start, used = (now, 0) if now >= start + window else (start, used)
        after = start + window - now
        headers = {"X-RateLimit-Bucket": "b", "X-RateLimit-Reset-After": f"{after:.3f}"}
        if used >= most:
            return after, headers | {"X-RateLimit-Remaining": "0"}
        most_in_channel, span = self.channel_limit
        times = self._request_times[webhook] = [
            one for one in self._request_times[webhook] if one > now - span
        ]
        if len(times) >= most_in_channel:
            return times[0] + span - now, headers
        self._windows[webhook] = (start, used + 1)
        times.append(now)
        return 0.0, headers | {"X-RateLimit-Remaining": str(most - used - 1)}


@contextlib.contextmanager
def discord():
    """Serve a stand-in on a free port. The desk may call it."""
    standin = Discord()

    def answer(handler):
        webhook, status, headers, reply = standin.answer(
            handler.command, handler.path, json.loads(handler.body())
        )
        if standin.lost[webhook] and status == 200:
            standin.lost[webhook] -= 1
            handler.close_connection = True
            return
        handler.reply(status, reply, **headers)

    with standing_in(standin, answer):
        yield standin


def work_to_the_end():
    """Do the worker's deliveries in this thread, until each is done or given up."""

    def turn():
        for destination_id in with_something_due():
            drain(destination_id=destination_id)
        return not Delivery.objects.unfinished().exists()

    wait_for(turn, LONG, "everything delivered or given up")


def deliver(*, delivery_id):
    """Make one attempt at the next delivery of this delivery's destination. Return how
    it ended.
    """
    destination = Delivery.objects.values_list("destination", flat=True).get(
        pk=delivery_id
    )
    return deliver_next(destination_id=destination) or "not due"
