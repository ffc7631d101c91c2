"""How many plain Django views does an approval cost, from the press until the message
left and its card says so?
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import processor
from benchmarks.pages import cost
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.serving import BARE, bare_view, own_database, prepare
from tests.desk import Browser, Product
from tests.stack import Stack

# Few enough that the channel accepts every card at once: Discord takes thirty posts and
# edits a minute. The posts that the demo made at its start no longer count after the
# idle time.
MESSAGES = sized(6, smoke=1)
IDLE_SECONDS = sized(60, smoke=1)
VIEWS = sized(300, smoke=5)
# In plain Django views: half of what each cost when it was first measured.
GOAL = 450.0
GOAL_OF_ARRIVAL = 125.0
# The product's processes that are counted. The demo's process, which stands in for
# Discord and for a mail server, is not.
GROUPS = {
    "web processes": ("web", "gateway", "live"),
    "workers": ("worker-desk", "worker-out"),
    "PostgreSQL and Redis": ("postgres", "redis"),
}
SETTLE_SECONDS = 5
# Seconds until a step counts as failed.
PATIENCE = 120
UNFINISHED = """
SELECT (SELECT count(*) FROM alerts_delivery WHERE state IN ('due', 'sending'))
     + (SELECT count(*) FROM alerts_unplannedact)
"""
DELIVERED = "SELECT count(*) FROM mirror_message WHERE upstream_id = ANY(%s) AND state = 'delivered'"
CARDS = """
SELECT count(*) FROM alerts_card c JOIN mirror_message m ON m.id = c.message_id
WHERE m.upstream_id = ANY(%s) AND c.post_id <> ''
"""


def measure() -> Result:
    """Start the product as a person does, let an agent send messages, approve them, and
    measure the processor time of each step.
    """
    with own_database():
        prepare()
        with (
            bare_view() as port,
            tempfile.TemporaryDirectory(prefix="countersign-") as folder,
        ):
            servers = processor.started() | {processor.postgres()}
            stack = Stack(Path(folder)).start()
            try:
                with psycopg.connect(
                    stack.env["DATABASE_URL"], autocommit=True
                ) as database:
                    desk = Desk(
                        stack,
                        database,
                        view=lambda: cost(servers, port, [BARE] * VIEWS),
                    )
                    arrival, approval = desk.measure()
            finally:
                stack.stop()
    view = statistics.median(desk.views)
    whole = sum(approval.values())
    of_arrival = sum(arrival.values())
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("an approval", whole, "ms"),
            *(Figure(f"of it {name}", value, "ms") for name, value in approval.items()),
            Figure("an agent's call until its card", of_arrival, "ms"),
            *(Figure(f"of it {name}", value, "ms") for name, value in arrival.items()),
        ),
        control=Figure("a plain Django view", view, "ms"),
        goals=(
            Goal("ratio", whole / view, GOAL),
            Goal("a call until its card, in views", of_arrival / view, GOAL_OF_ARRIVAL),
        ),
    )


class Desk:
    """The running product, and the processor time that its processes use when idle."""

    def __init__(
        self, stack: Stack, database: Any, *, view: Callable[[], float]
    ) -> None:
        self.product = Product(stack)
        self.database = database
        self._view = view
        self.views: list[float] = []
        self.browser: Browser = self.product.reviewer()
        self.idle: dict[str, float] = {}
        pids = stack.pids()
        self._roots = {
            group: [pids[name] for name in names] for group, names in GROUPS.items()
        }

    def measure(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the milliseconds of processor time by group of processes, for one
        arrival and for one approval.
        """
        # The first one loads code and opens connections.
        self.approve(self.open(self.arrive(1)))
        self._view()
        self.idle = self.taken(lambda: time.sleep(IDLE_SECONDS), IDLE_SECONDS)
        self.views.append(self._view())
        sent: list[str] = []
        arrival = self.taken(lambda: sent.extend(self.arrive(MESSAGES)), MESSAGES)
        opened = self.open(sent)
        # Opening a page makes workers fetch the newest state.
        time.sleep(SETTLE_SECONDS)
        self.views.append(self._view())
        approval = self.taken(lambda: self.approve(opened), MESSAGES)
        self.views.append(self._view())
        return arrival, approval

    def taken(self, act: Callable[[], object], times: int) -> dict[str, float]:
        """Return the milliseconds that each group took for one of the `times` parts of
        `act`, less what it takes when idle.
        """
        began = time.monotonic()
        before = self._spent()
        act()
        seconds = time.monotonic() - began
        return {
            name: (now - before[name] - self.idle.get(name, 0) * seconds) / times
            for name, now in self._spent().items()
        }

    def _spent(self) -> dict[str, float]:
        return {group: processor.spent(pids) for group, pids in self._roots.items()}

    def arrive(self, number: int) -> list[str]:
        """Let an agent send this many messages, and wait until each has its card."""
        sent = [self.product.send()[0] for _ in range(number)]
        self._wait(CARDS, sent)
        return sent

    def open(self, sent: list[str]) -> list[tuple[dict[str, Any], Any]]:
        """Open the page of each of these messages."""
        rows = {row["upstream_id"]: row for row in self.browser.queue()}
        return [
            (rows[upstream_id], self.browser.get(f"/queue/{rows[upstream_id]['id']}/"))
            for upstream_id in sent
        ]

    def approve(self, opened: list[tuple[dict[str, Any], Any]]) -> None:
        """Press Approve on each page, and wait until each message is delivered and each
        card is up to date.
        """
        for row, page in opened:
            address = f"/queue/{row['id']}/"
            here = self.browser.base_url + address
            self.browser.session.headers.update(
                {"HX-Request": "true", "HX-Current-URL": here}
            )
            answer = self.browser.post(
                f"{address}verdict/",
                page,
                outcome="approve",
                fingerprint=row["fingerprint"],
                reason="",
            )
            if answer.status_code != 200:
                raise RuntimeError(
                    f"the verdict was answered with {answer.status_code}"
                )
        for name in ("HX-Request", "HX-Current-URL"):
            del self.browser.session.headers[name]
        self._wait(DELIVERED, [row["upstream_id"] for row, _ in opened])

    def _wait(self, query: str, sent: list[str]) -> None:
        """Wait until `query` counts all sent messages and no delivery is due."""
        deadline = time.monotonic() + PATIENCE
        while self._count(query, sent) < len(sent) or self._count(UNFINISHED):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"only {self._count(query, sent)} of {len(sent)} messages went on"
                )
            time.sleep(0.25)

    def _count(self, query: str, *values: Any) -> int:
        count: int = self.database.execute(query, values).fetchone()[0]
        return count
