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
# As long as a reader takes at the very least: a double press decides nothing, and the
# next message is fetched ahead.
PAUSE = 450
GOAL = 2.0
BUDGET = 100.0
ARGUMENTS = [
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]

# From the moment at which the browser got the key to the second frame after the message
# was put on the page: by then the first one is painted.
WATCH = """
window.taken = [];
let began = 0;
addEventListener("keydown", (event) => { if (event.key === "a") began = event.timeStamp; }, true);
document.addEventListener("desk:shown", () => requestAnimationFrame(() => requestAnimationFrame((now) => {
  window.taken.push(Math.max(now, performance.now()) - began);
})));
"""


def measure() -> Result:
    """Approve one after the other in Chromium, by one key each; few wait first, many
    then.
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
    """Return the cookie of somebody who is signed in."""
    from django.conf import settings

    name: str = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value}


def presses(desk: str, session: dict[str, str]) -> list[float]:
    """Return how many milliseconds each press took until the next message was painted."""
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
        page.keyboard.press("j")
        durations = [press(page, number) for number in range(1, PRESSES + 1)]
        browser.close()
    return durations


def press(page: Any, number: int) -> float:
    """Approve what is on screen, as soon as it could have been read and the next one is
    there.
    """
    page.wait_for_selector(
        "#message:not(:has([data-recording])) ~ article[data-letter=here]",
        state="attached",
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
    """Return what 95 of 100 presses did not take longer than."""
    return statistics.quantiles(durations, n=20)[-1]
