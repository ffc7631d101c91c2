"""Makes pictures of every page and state, at three widths, in light and dark: `./run screenshots [folder] [names...]`.

It starts a product with its demo for itself, adds messages in every state, and takes everything away again.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from launcher.quality import find_chromium
from tests.browser.looking import settled
from tests.browser.pages import ADMIN_PAGES, MORE, PAGES
from tests.desk import Browser as Reader
from tests.desk import Product
from tests.showcase import NEWCOMER, Showcase, showcase
from tests.stack import Stack

WIDTHS = {1440: 900, 768: 1024, 390: 844}
SCHEMES = ("light", "dark")
ENOUGH = 12
EMPTY = {f"empty {tab}": f"/queue/?tab={tab}" for tab in ("waiting", "mine", "leaving", "unknown", "failed", "done")}


def main(folder: Path, wanted: list[str]) -> int:
    """Take the pictures, all or those of these names; say how many."""
    with tempfile.TemporaryDirectory(prefix="countersign-pictures-") as temporary:
        stack = Stack(Path(temporary), DEMO="1").start()
        try:
            product = Product(stack)
            reader = product.reviewer()
            like = product.wait_for(lambda: _enough(reader), timeout=120, what="the demo's letters in the queue")
            with showcase(product.known["DATABASE_URL"], like=like) as made, sync_playwright() as playwright:
                made.make_newcomer(product.known["REVIEWER_EMAIL"])
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
                number = _take_all(browser, product, made, folder, _chosen(wanted))
                browser.close()
        finally:
            stack.stop()
    print(f"{number} pictures in {folder}")
    return 0


def _chosen(wanted: list[str]) -> Callable[[str], bool]:
    return lambda name: not wanted or any(word in name for word in wanted)


def _enough(reader: Reader) -> str:
    rows = [row for row in reader.queue() if row["fingerprint"]]
    return str(rows[0]["upstream_id"]) if len(rows) >= ENOUGH else ""


def _take_all(
    browser: Browser, product: Product, made: Showcase, folder: Path, is_wanted: Callable[[str], bool]
) -> int:
    known = {**made.pages, "id": made.pages["held"].split("/")[2]}
    full = {name: path for name, path in {**PAGES, **MORE}.items() if name != "sign-in"}
    sets = {"nobody": {"sign-in": PAGES["sign-in"]}, "ana": full, "newcomer": {**EMPTY, "empty home": "/"}}
    sets["ida"] = ADMIN_PAGES
    states = {
        person: _signed_in(browser, product, email, password) for person, email, password in
        (
            ("ana", product.known["REVIEWER_EMAIL"], product.known["REVIEWER_PASSWORD"]),
            ("newcomer", NEWCOMER, product.known["REVIEWER_PASSWORD"]),
            ("ida", product.known["ADMIN_EMAIL"], product.known["ADMIN_PASSWORD"]),
        )
    }  # fmt: skip
    number = 0
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            for person, pages in sets.items():
                made.refresh()
                options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                page = browser.new_context(storage_state=states.get(person), **options).new_page()
                for name, path in pages.items():
                    if is_wanted(name):
                        settled(page, product.known["DASHBOARD_URL"] + path.format(**known))
                        target = folder / f"{width}-{scheme}" / f"{name.replace(' ', '-')}.png"
                        # A bar that stays in view would stand in the middle of a whole page.
                        whole = width < 640 and not page.locator("#decide").count()
                        page.screenshot(path=target, full_page=whole)
                        number += 1
                page.context.close()
    return number


def _signed_in(browser: Browser, product: Product, email: str, password: str) -> Any:
    page = browser.new_context().new_page()
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue/")
    state = page.context.storage_state()
    page.context.close()
    return state


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
