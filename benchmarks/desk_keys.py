"""How long after a key press is the next message painted, with 100,000 messages waiting
and with 100?
"""

import contextlib
import os
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import add_messages, make_desk
from benchmarks.serving import own_database, prepare, web_process
from launcher.quality import find_chromium

FEW = sized(100, smoke=20)
MANY = sized(100_000, smoke=40)
PRESSES = sized(50, smoke=3)
# How many messages are decided to count the presses. Every fourth is rejected, always
# with the same reason.
MIXED = (sized(20, smoke=4), sized(100, smoke=8))
# Milliseconds between two presses: a faster press counts as a double press and decides
# nothing, and the next message is fetched in this time.
PAUSE = 450
# By what factor many waiting messages may slow a press down, and its most milliseconds.
GOAL = 2.0
BUDGET = 100.0
ARGUMENTS = [
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]

# Measures from the key press to the second animation frame after the next message was
# put on the page. By then the first frame is painted.
WATCH = """
// The browser stops noting what was loaded after 250 files.
performance.setResourceTimingBufferSize(100000);
window.taken = [];
window.pressed = 0;
let began = 0;
addEventListener("keydown", (event) => {
  if (event.key === "Shift") return;
  window.pressed += 1;
  began = event.timeStamp;
}, true);
document.addEventListener("htmx:load", ({ target }) => {
  if (!target.querySelector("#decided[data-recording]")) return;
  requestAnimationFrame(() => requestAnimationFrame((now) => {
    window.taken.push(Math.max(now, performance.now()) - began);
  }));
});
"""


def measure() -> Result:
    """Approve messages one after the other in Chromium, by one key each: first with few
    waiting, then with many.
    """
    os.environ["DEMO"] = "0"
    with own_database():
        prepare()
        connection, client = make_desk()
        durations = {}
        with web_process("dashboard") as port:
            for first, last in ((1, FEW), (FEW + 1, MANY)):
                add_messages(connection, first=first, last=last)
                desk = f"http://127.0.0.1:{port}"
                with queue_page(desk, session_of(client)) as page:
                    durations[last] = [press(page, "a") for _ in range(PRESSES)]
            needed = {}
            for number in MIXED:
                with queue_page(desk, session_of(client)) as page:
                    needed[number] = presses_for(page, number)
                check_decided(number)
    slow = {number: percentile(times) for number, times in durations.items()}
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"median, {FEW} waiting", statistics.median(durations[FEW]), "ms"),
            Figure(
                f"median, {MANY:,} waiting", statistics.median(durations[MANY]), "ms"
            ),
            Figure(f"95th percentile, {MANY:,} waiting", slow[MANY], "ms"),
            *(
                Figure(f"presses for {number} mixed messages", needed[number], "")
                for number in MIXED
            ),
        ),
        control=Figure(f"95th percentile, {FEW} waiting", slow[FEW], "ms"),
        goals=(
            Goal("ratio", slow[MANY] / slow[FEW], GOAL),
            Goal(f"ms at the 95th percentile, {FEW} waiting", slow[FEW], BUDGET),
            Goal(f"ms at the 95th percentile, {MANY:,} waiting", slow[MANY], BUDGET),
            *(
                Goal(f"presses for {number}", needed[number], number + 1)
                for number in MIXED
            ),
        ),
    )


def session_of(client: Any) -> dict[str, str]:
    """Return the session cookie of a signed-in test client, for Chromium."""
    from django.conf import settings

    name: str = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value}


@contextlib.contextmanager
def queue_page(desk: str, session: dict[str, str]) -> Iterator[Any]:
    """Open the queue in a Chromium of its own, as it is on a wide screen."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise RuntimeError(
            "there is no Chromium: install Debian's package chromium-headless-shell"
        )
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{**session, "url": desk}])  # type: ignore[list-item]
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto(f"{desk}/queue/")
        yield page
        browser.close()


def press(page: Any, *keys: str) -> float:
    """Decide the open message by these keys after `PAUSE`, when the next one is loaded.
    Return the milliseconds from the last press until the next one was painted.
    """
    page.wait_for_function(
        """() => {
        const next = document.querySelector("#message:not(:has([data-recording])) ~ article iframe");
        return next && performance.getEntriesByName(next.src).length > 0;
      }"""
    )
    page.wait_for_timeout(PAUSE)
    before = page.evaluate("document.getElementById('message').dataset.message")
    painted = page.evaluate("window.taken.length")
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector(f"#message:not([data-message='{before}']) #decided")
    page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )
    recorded = page.evaluate("window.taken")
    if len(recorded) != painted + 1:
        raise RuntimeError(f"{keys} did not paint the next message at once")
    return float(recorded[-1])


def presses_for(page: Any, number: int) -> int:
    """Decide this many messages, every fourth by a rejection with the same reason, and
    return how many keys that took.
    """
    for turn in range(number):
        if turn % 4 < 3:
            press(page, "a")
        elif turn == 3:
            press(page, "r", "1")
        else:
            press(page, "Shift+R")
    page.wait_for_selector("#decided:not([data-recording])")
    return int(page.evaluate("window.pressed"))


def check_decided(number: int) -> None:
    """Raise RuntimeError unless the newest decisions are what `presses_for` meant.
    Called without Chromium, whose event loop keeps Django from its database.
    """
    from approvals.models import Decision

    newest = Decision.objects.order_by("-pk").values_list("outcome", "reason")[:number]
    wanted = {"reject": number // 4, "approve": number - number // 4}
    made = Counter(newest)
    if len(made) != 2 or Counter(outcome for outcome, _ in newest) != wanted:
        raise RuntimeError(f"the keys decided otherwise: {made}")


def percentile(durations: list[float]) -> float:
    """Return the 95th percentile of the presses."""
    return statistics.quantiles(durations, n=20)[-1]
