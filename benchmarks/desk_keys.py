"""How long after a key press is the next message painted, with 100,000 messages waiting
and with 100?
"""

import os
import statistics
from typing import Any

from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.rows import add_messages, make_desk
from benchmarks.serving import own_database, prepare, web_process
from launcher.quality import find_chromium

FEW = sized(100, smoke=20)
MANY = sized(100_000, smoke=40)
PRESSES = sized(50, smoke=3)
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
window.taken = [];
let began = 0;
addEventListener("keydown", (event) => { if (event.key === "a") began = event.timeStamp; }, true);
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
                durations[last] = presses(
                    f"http://127.0.0.1:{port}", session_of(client)
                )
    slow = {number: percentile(times) for number, times in durations.items()}
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"median, {FEW} waiting", statistics.median(durations[FEW]), "ms"),
            Figure(
                f"median, {MANY:,} waiting", statistics.median(durations[MANY]), "ms"
            ),
            Figure(f"95th percentile, {MANY:,} waiting", slow[MANY], "ms"),
        ),
        control=Figure(f"95th percentile, {FEW} waiting", slow[FEW], "ms"),
        goals=(
            Goal("ratio", slow[MANY] / slow[FEW], GOAL),
            Goal(f"ms at the 95th percentile, {FEW} waiting", slow[FEW], BUDGET),
            Goal(f"ms at the 95th percentile, {MANY:,} waiting", slow[MANY], BUDGET),
        ),
    )


def session_of(client: Any) -> dict[str, str]:
    """Return the session cookie of a signed-in test client, for Chromium."""
    from django.conf import settings

    name: str = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value}


def presses(desk: str, session: dict[str, str]) -> list[float]:
    """Return the milliseconds from each press until the next message was painted."""
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
        durations = [press(page, number) for number in range(1, PRESSES + 1)]
        browser.close()
    return durations


def press(page: Any, number: int) -> float:
    """Approve the open message after `PAUSE`, when the next one is loaded. Return the
    milliseconds until the next one was painted. `number` counts the presses.
    """
    page.wait_for_function(
        """() => {
        const next = document.querySelector("#message:not(:has([data-recording])) ~ article iframe");
        return next && performance.getEntriesByName(next.src).length > 0;
      }"""
    )
    page.wait_for_timeout(PAUSE)
    before = page.evaluate("document.getElementById('message').dataset.message")
    page.keyboard.press("a")
    page.wait_for_selector(f"#message:not([data-message='{before}']) #decided")
    page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )
    recorded = page.evaluate("window.taken")
    if len(recorded) != number:
        raise RuntimeError(f"press {number} did not paint the next message at once")
    return float(recorded[-1])


def percentile(durations: list[float]) -> float:
    """Return the 95th percentile of the presses."""
    return statistics.quantiles(durations, n=20)[-1]
