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
from demo.discord.api import (
    HIDDEN_LIMIT,
    HIDDEN_SECONDS,
    LIMIT,
    WINDOW_SECONDS,
    RateLimiter,
)
from launcher.processes import ALERT_THREADS

EVENTS = sized(1000, smoke=10)
TIMES_TOO_MANY = 10
# Events a second, of the requests a second of a plain Django view: what a slower
# machine still takes in.
SHARE = 1 / 25
GOAL = 0.9
MOST_REFUSED = 0.01


def measure() -> Result:
    """Hold messages at ten times the channel's rate; count what it takes meanwhile, and
    what stands in the end.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(own_database())
        prepare()
        from tests.alerting import discord

        there = stack.enter_context(discord())
        there.bucket_limit = (LIMIT, WINDOW_SECONDS)
        there.channel_limit = (HIDDEN_LIMIT, HIDDEN_SECONDS)
        os.environ["OUTGOING_ALLOW"] = there.url
        connection = make_connection(
            f"{there.url}/api/webhooks/1/bench", ["message.held"]
        )
        rate = within_reach(
            round(TIMES_TOO_MANY * HIDDEN_LIMIT / HIDDEN_SECONDS), share=SHARE
        )
        stack.enter_context(worker("alerts", beat="dashboard", threads=ALERT_THREADS))
        # The worker is there when its first post is.
        happen(connection, 1, rate)
        finish()
        there.calls.clear()
        began = happen(connection, EVENTS, rate)
        ended = time.monotonic()
        taken = len(there.of(1, 200))
        finish()
        missing = lost()
    # The first post can go when the first message was held.
    allowed = allowed_within(ended - began)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("events", EVENTS, ""),
            Figure("events a second", rate, ""),
            Figure("posts and edits taken meanwhile", taken, ""),
            Figure("seconds", ended - began, "s"),
            Figure("posts that stand in the channel", len(there.posts), ""),
        ),
        control=Figure("allowed by both limits", allowed, ""),
        goals=(
            Goal("ratio", taken / allowed, GOAL, at_most=False),
            Goal(
                "answers 429, of all",
                len(there.of(1, 429)) / len(there.calls),
                MOST_REFUSED,
            ),
            Goal("messages in no post", missing, 0),
        ),
    )


def allowed_within(seconds: float) -> int:
    """Return how many requests both limits let through in so long, of whoever never
    misses one.
    """
    now = 0.0
    granted = 0
    limiter = RateLimiter(clock=lambda: now)
    while now < seconds:
        wait, _ = limiter.take("bench")
        granted += not wait
        now += wait
    return granted


def happen(connection: Any, events: int, rate: int) -> float:
    """Take in that messages are held, so many a second, and return when the first of
    them was.
    """
    from approvals.intake.ingest import receive_webhook

    began = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        receive_webhook(connection=connection, body=event(), secret_used="current")
    return began


def finish() -> None:
    """Wait until everything was planned and told."""
    from alerts.models import Delivery, UnplannedAct

    deadline = time.monotonic() + 10 * HIDDEN_SECONDS
    while UnplannedAct.objects.exists() or Delivery.objects.unfinished().exists():
        if time.monotonic() > deadline:
            raise RuntimeError("not everything was delivered")
        time.sleep(0.2)


def lost() -> int:
    """Count the messages that neither have a post of their own nor stand on one with
    others.
    """
    from alerts.models import Card
    from mirror.models import Message

    placed = Card.objects.exclude(discord_message_id="", digest__isnull=True)
    return Message.objects.exclude(pk__in=placed.values("message")).count()
