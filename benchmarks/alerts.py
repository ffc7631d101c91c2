"""Of what a channel's limits allow, how much is delivered when ten times as much happens, and how often is it 429?"""

import os
import time
from typing import Any

from benchmarks.caps import without_caps
from benchmarks.discord_channel import HIDDEN, PATH, Channel, allowed_within, channel
from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare, within_reach, worker
from benchmarks.slow_multimail import MAILBOX
from launcher.processes import ALERT_THREADS

EVENTS, TIMES_TOO_MANY = sized(1000, smoke=10), 10
# Events a second, of the requests a second of a plain Django view: what a slower machine still takes in.
SHARE = 1 / 25
GOAL, MOST_REFUSED = 0.9, 0.01


def measure() -> Result:
    """Hold messages at ten times the channel's rate; count what it takes meanwhile, and what stands in the end."""
    events = int(os.environ.get("BENCH_ROWS", EVENTS))
    with own_database(), channel() as there:
        os.environ["OUTGOING_ALLOW"] = there.url
        prepare()
        connection = make_desk(there)
        rate = within_reach(round(TIMES_TOO_MANY * HIDDEN[0] / HIDDEN[1]), share=SHARE)
        with worker("alerts", beat="dashboard", threads=ALERT_THREADS):
            # The worker is there when its first post is.
            happen(connection, 1, rate)
            finish()
            there.forget()
            began = happen(connection, events, rate)
            ended = time.monotonic()
            finish()
            missing = lost()
    meanwhile, whole = there.counted(ended), there.counted(float("inf"))
    # The first post can go when the first message was held.
    allowed = allowed_within(ended - began)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("events", events, ""),
            Figure("events a second", rate, ""),
            Figure("posts and edits taken meanwhile", meanwhile[200], ""),
            Figure("seconds", ended - began, "s"),
            Figure("posts that stand in the channel", len(there.posts), ""),
        ),
        control=Figure("allowed by both limits", allowed, ""),
        ratio=meanwhile[200] / allowed,
        goal=GOAL,
        runs=1,
        needs=(
            Need("answers 429, of all", whole[429] / whole.total(), MOST_REFUSED, at_most=True),
            Need("messages in no post", missing, 0, at_most=True),
        ),
    )


def make_desk(there: Channel) -> Any:
    """Make a connection with a mailbox, and a destination that has a card for each held message."""
    from alerts.models import Destination, Route
    from mirror.models import Connection, Mailbox

    destination = Destination.objects.create(name="#bench", url=there.url + PATH)
    Route.objects.create(destination=destination, actions=["message.held"])
    connection = Connection.objects.create(
        slug="bench",
        name="Bench",
        api_url="http://127.0.0.1:1",
        webhook_secret="none",
        oversight_key="none",
        paused_because="A benchmark's connection: nothing is read from it.",
    )
    without_caps(Mailbox.objects.create(connection=connection, upstream_id=MAILBOX["id"], address=MAILBOX["address"]))
    return connection


def happen(connection: Any, events: int, rate: int) -> float:
    """Take in that messages are held, so many a second, and return when the first of them was."""
    from approvals.intake.ingest import receive_webhook
    from benchmarks.ingest import event

    began = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        receive_webhook(connection=connection, body=event(), secret_used="current")
    return began


def finish() -> None:
    """Wait until everything was told."""
    from alerts.models import Delivery

    deadline = time.monotonic() + 10 * HIDDEN[1]
    while Delivery.objects.unfinished().exists():
        if time.monotonic() > deadline:
            raise RuntimeError("not everything was delivered")
        time.sleep(0.2)


def lost() -> int:
    """Count the messages that neither have a post of their own nor stand on one with others."""
    from alerts.models import Card
    from mirror.models import Message

    placed = Card.objects.exclude(discord_message_id="", digest__isnull=True)
    return Message.objects.exclude(pk__in=placed.values("message")).count()
