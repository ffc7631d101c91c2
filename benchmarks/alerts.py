"""Of what a channel's limits allow, how much is delivered when ten times as much
happens, and how often is it 429?
"""

import contextlib
import os
import time
from typing import Any

from benchmarks.ingest import event, make_connection
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.serving import own_database, prepare, within_reach, worker
from launcher.processes import ALERT_THREADS

# Discord's rate limit, which headers report: how many requests in how many seconds.
LIMIT = 5
WINDOW_SECONDS = 2.0
# A second limit, which no header reports.
HIDDEN_LIMIT = 30
HIDDEN_SECONDS = 60.0
# Held messages; they come at this many times the rate that the channel allows.
EVENTS = sized(1000, smoke=10)
TIMES_TOO_MANY = 10
# The most events a second, as a share of the requests a second that a plain Django view
# reaches: a slower machine gets fewer.
SHARE = 1 / 25
# At least this share of what the limits allow is delivered, and at most this share of
# the answers is 429.
GOAL = 0.9
MOST_REFUSED = 0.01


def measure() -> Result:
    """Hold messages at ten times the rate that a stand-in for Discord allows. Count the
    posts and edits that it accepts meanwhile, and the posts in the channel at the end.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_database())
        prepare()
        from tests.alerting import discord

        standin = stack.enter_context(discord())
        standin.bucket_limit = (LIMIT, WINDOW_SECONDS)
        standin.channel_limit = (HIDDEN_LIMIT, HIDDEN_SECONDS)
        os.environ["OUTGOING_ALLOW"] = standin.url
        connection = make_connection(
            f"{standin.url}/api/webhooks/1/bench", ["message.held"]
        )
        rate = within_reach(
            round(TIMES_TOO_MANY * HIDDEN_LIMIT / HIDDEN_SECONDS), share=SHARE
        )
        stack.enter_context(worker("alerts", beat="dashboard", threads=ALERT_THREADS))
        # The worker has started when its first post has arrived.
        happen(connection, 1, rate)
        finish()
        standin.calls.clear()
        began = happen(connection, EVENTS, rate)
        ended = time.monotonic()
        accepted = len(standin.of(1, 200))
        finish()
        missing = lost()
    # The limits count from the first held message, which allows the first post.
    allowed = allowed_within(ended - began)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("events", EVENTS, ""),
            Figure("events a second", rate, ""),
            Figure("posts and edits taken meanwhile", accepted, ""),
            Figure("seconds", ended - began, "s"),
            Figure("posts that stand in the channel", len(standin.posts), ""),
        ),
        control=Figure("allowed by both limits", allowed, ""),
        goals=(
            Goal("ratio", accepted / allowed, GOAL, at_most=False),
            Goal(
                "answers 429, of all",
                len(standin.of(1, 429)) / len(standin.calls),
                MOST_REFUSED,
            ),
            Goal("messages in no post", missing, 0),
        ),
    )


def allowed_within(seconds: float) -> int:
    """Return how many requests both limits let through in `seconds`, if the client
    sends each as soon as it may.
    """
    now = window = 0.0
    times: list[float] = []
    while now < seconds:
        if now >= window + WINDOW_SECONDS:
            window = now
        if sum(time >= window for time in times) >= LIMIT:
            now = window + WINDOW_SECONDS
        elif len(times) >= HIDDEN_LIMIT and times[-HIDDEN_LIMIT] > now - HIDDEN_SECONDS:
            now = times[-HIDDEN_LIMIT] + HIDDEN_SECONDS
        else:
            times.append(now)
    return len(times)


def happen(connection: Any, events: int, rate: int) -> float:
    """Ingest this many webhooks about held messages, `rate` a second. Return the time
    of the first (monotonic).
    """
    from approvals.intake.ingest import receive_webhook

    began = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        receive_webhook(connection=connection, body=event(), secret_used="current")
    return began


def finish() -> None:
    """Wait until all deliveries are planned and sent."""
    from alerts.models import Delivery, UnplannedAct

    deadline = time.monotonic() + 10 * HIDDEN_SECONDS
    while UnplannedAct.objects.exists() or Delivery.objects.unfinished().exists():
        if time.monotonic() > deadline:
            raise RuntimeError("not everything was delivered")
        time.sleep(0.2)


def lost() -> int:
    """Count the messages that have neither their own post nor a place in a digest."""
    from alerts.models import Card
    from mirror.models import Message

    placed = Card.objects.exclude(post_id="", digest__isnull=True)
    return Message.objects.exclude(pk__in=placed.values("message")).count()
