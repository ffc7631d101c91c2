"""Makes pictures of every page and state, at three widths, in light and dark: `./run
screenshots [folder] [names...]`.

It starts a product with its demo for itself, adds messages in every state, and takes
everything away again.
"""

import html
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from launcher.quality import find_chromium
from simple_form import simplify
from tests.browser.looking import open_up, settled
from tests.browser.pages import (
    ADMIN_PAGES,
    MORE,
    OPENED,
    PAGES,
    POLICY_PAGES,
    POLICY_REVIEWER_PAGES,
)
from tests.desk import Product
from tests.policy_showcase import make_policy
from tests.showcase import NEWCOMER, showcase
from tests.stack import Stack

WIDTHS = {1440: 900, 768: 1024, 390: 844}
SCHEMES = ("light", "dark")
ENOUGH = 12
EMPTY = {
    f"empty {tab}": f"/queue/?tab={tab}"
    for tab in ("waiting", "mine", "leaving", "unknown", "failed", "done")
}
# Messages that differ in little, reviewed together.
BULK = {
    "alike together": ("/queue/?q=refund&group=none", *OPENED["sheet of several"][1:])
}
# Those of docs/images, with the person who looks.
DOCS_POLICY = {
    "policy": ("ida", "/policy/"),
    "policy-activate": ("ida", "/policy/draft/activate/"),
    "two-approvals": ("ana", "{two}"),
    "review-plans": ("ida", "/review-plans/"),
    "set-apart": ("ana", "{flood}"),
    "changes": ("ida", "/changes/"),
}
DESIGNED = (
    Path(__file__).parent / "corpus" / "designed" / "037_countdown_gif_urgent.html"
)
BESIDE = """<style>body{{display:flex;gap:16px;margin:12px;font:15px sans-serif}}div{{flex:1}}
iframe{{width:100%;height:372px;margin-top:8px;border:1px solid #bbb}}</style>
<div>As it was designed<iframe sandbox srcdoc="{}"></iframe></div>
<div>Its simple form<iframe sandbox srcdoc="{}"></iframe></div>"""
POLICY_BULK = {
    "policy sheet with 0 of 2 approvals": (
        "/queue/?q=invoice&group=none",
        *OPENED["sheet of several"][1:],
    )
}
ALIKE = "Hello Dana,\n\nyour refund of {} EUR for order {} is on its way. It arrives within five days."


def main(folder, wanted):
    """Take the pictures, all or those of these names; say how many."""
    with tempfile.TemporaryDirectory(prefix="countersign-pictures-") as temporary:
        stack = Stack(Path(temporary), DEMO="1").start()
        try:
            product = Product(stack)
            reader = product.reviewer()
            like = product.wait_for(
                lambda: _enough(reader),
                timeout=120,
                what="the demo's letters in the queue",
            )
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=find_chromium(), args=["--no-sandbox"]
                )
                number = _take_for_docs(
                    browser, product, reader, folder / "docs", _chosen(wanted)
                )
                number += _take_simple_form(browser, folder / "docs", _chosen(wanted))
                _hold_alike(product, reader)
                with showcase(product.known["DATABASE_URL"], like=like) as made:
                    made.make_newcomer(product.known["REVIEWER_EMAIL"])
                    number += _take_all(browser, product, made, folder, _chosen(wanted))
                number += _take_policy(
                    browser, product, reader, folder, _chosen(wanted)
                )
                browser.close()
        finally:
            stack.stop()
    print(f"{number} pictures in {folder}")
    return 0


def _chosen(wanted):
    return lambda name: not wanted or any(word in name for word in wanted)


def _enough(reader):
    rows = [row for row in reader.queue() if row["fingerprint"]]
    return str(rows[0]["upstream_id"]) if len(rows) >= ENOUGH else ""


def _take_for_docs(browser, product, reader, folder, is_wanted):
    """Take the pictures of docs/images: of the demo's own messages alone."""
    pay, report = (
        _demo_page(reader, subject)
        for subject in ("Updated payment details", "The report for")
    )
    riskiest = "?order=riskiest"
    wide = {"viewport": {"width": 1440, "height": 900}}
    phone = {"viewport": {"width": 390, "height": 844}}
    shots = {
        "desk": (pay + riskiest, (), "#message", wide),
        "desk-dark": (
            report + riskiest,
            (),
            "#message",
            {**wide, "color_scheme": "dark"},
        ),
        "phone": (pay, (), "#message", {**phone, "device_scale_factor": 2}),
        "high-risk": (pay + "approve/", (), "#careful", wide),
        "bulk": ("/queue/", *OPENED["sheet of several"][1:], wide),
        "home": ("/", (), "h1", wide),
    }
    state = _signed_in(browser, product, "REVIEWER")
    chosen = {name: shot for name, shot in shots.items() if is_wanted(f"docs {name}")}
    for name, (path, steps, there, options) in chosen.items():
        if name == "home":
            _decide_some(reader)
        page = browser.new_context(storage_state=state, **options).new_page()
        settled(page, product.known["DASHBOARD_URL"] + path)
        open_up(page, steps, there)
        page.screenshot(path=folder / f"{name}.png")
        page.context.close()
    return len(chosen)


def _take_simple_form(browser, folder, is_wanted):
    """Take the picture of a designed newsletter beside its simple form."""
    if not is_wanted("docs simple-form"):
        return 0
    source = DESIGNED.read_text()
    page = browser.new_context(viewport={"width": 1200, "height": 430}).new_page()
    page.route("**/*", lambda route: route.abort())
    page.set_content(
        BESIDE.format(html.escape(source), html.escape(simplify(source).html))
    )
    page.screenshot(path=folder / "simple-form.png")
    page.context.close()
    return 1


def _hold_alike(product, reader):
    """Hold five messages that differ in their order and one amount."""
    for order in range(4471, 4476):
        body = ALIKE.format("500.00" if order == 4474 else "50.00", order)
        product.hold(reader, f"Refund for order {order}", body=body)


def _decide_some(reader):
    """Approve a few messages and reject one, so that there is something to tell of."""
    rows = [
        row
        for row in reader.queue()[2:]
        if row["fingerprint"] and row["risk_level"] != "high"
    ][:5]
    for number, row in enumerate(rows):
        outcome = ("approve", "") if number else ("reject", "The amount is wrong.")
        reader.decide(row["id"], outcome[0], row["fingerprint"], outcome[1])


def _demo_page(reader, subject):
    found = next(
        row["id"] for row in reader.queue() if row["subject"].startswith(subject)
    )
    return f"/queue/{found}/"


def _take_all(browser, product, made, folder, is_wanted):
    known = {
        **made.pages,
        "id": made.pages["held"].split("/")[2],
        "mailbox": made.mailbox,
        "filed": _with_pdf(product),
    }
    full = {name: path for name, path in {**PAGES, **MORE}.items() if name != "sign-in"}
    full["file-pages"] = "{filed}files/1/pages/"
    sets = {
        "nobody": {"sign-in": PAGES["sign-in"]},
        "ana": full,
        "newcomer": {**EMPTY, "empty home": "/"},
        "ida": ADMIN_PAGES,
    }
    states = {
        "ana": _signed_in(browser, product, "REVIEWER"),
        "newcomer": _signed_in(browser, product, "REVIEWER", email=NEWCOMER),
        "ida": _signed_in(browser, product, "ADMIN"),
    }
    pictures = _Pictures(
        browser,
        product,
        folder,
        is_wanted,
        {name: str(value) for name, value in known.items()},
    )
    return pictures.take(sets, states, OPENED | BULK, before=made.refresh)


def _take_policy(browser, product, reader, folder, is_wanted):
    """Take the pictures of a policy in force, and those of them that are in
    docs/images.
    """
    sets = {"ida": POLICY_PAGES, "ana": POLICY_REVIEWER_PAGES}
    names = (
        *POLICY_PAGES,
        *POLICY_REVIEWER_PAGES,
        *POLICY_BULK,
        *(f"docs {name}" for name in DOCS_POLICY),
    )
    if not any(map(is_wanted, names)):
        return 0
    known = make_policy(product, reader)
    states = {
        "ida": _signed_in(browser, product, "ADMIN"),
        "ana": _signed_in(browser, product, "REVIEWER"),
    }
    pictures = _Pictures(browser, product, folder, is_wanted, known)
    return pictures.take(sets, states, POLICY_BULK) + pictures.take_for_docs(
        DOCS_POLICY, states
    )


@dataclass(frozen=True)
class _Pictures:
    """Takes pictures of pages at every width, light and dark; `known` fills in what
    their addresses have in braces.
    """

    browser: Browser
    product: Product
    folder: Path
    is_wanted: Callable[[str], bool]
    known: Mapping[str, str]

    def take(self, sets, states, opened, before=lambda: None):
        """Take the pages of each person, and what opens on Ana's; return how many
        pictures these are.
        """
        number = 0
        for width, height in WIDTHS.items():
            for scheme in SCHEMES:
                place = self.folder / f"{width}-{scheme}"
                options = {
                    "viewport": {"width": width, "height": height},
                    "color_scheme": scheme,
                }
                for person, pages in sets.items():
                    before()
                    page = self.browser.new_context(
                        storage_state=states.get(person), **options
                    ).new_page()
                    for name in filter(self.is_wanted, pages):
                        settled(page, self._address(pages[name]))
                        # A bar that stays in view would stand in the middle of a whole
                        # page.
                        whole = width < 640 and not page.locator("#decide").count()
                        page.screenshot(
                            path=place / f"{name.replace(' ', '-')}.png",
                            full_page=whole,
                        )
                        number += 1
                    page.context.close()
                number += self._take_opened(
                    states["ana"], opened, width, height, scheme
                )
        return number

    def _take_opened(self, state, opened, width, height, scheme):
        page = self.browser.new_context(
            storage_state=state, color_scheme=scheme
        ).new_page()
        names = 0
        for name in filter(self.is_wanted, opened):
            path, steps, there = opened[name]
            # In a wide window, where everything is in view, and then in this one.
            page.set_viewport_size({"width": 1440, "height": 900})
            settled(page, self._address(path))
            open_up(page, steps, there)
            page.set_viewport_size({"width": width, "height": height})
            page.locator(there).first.evaluate(
                "(one) => one.scrollIntoView({ block: 'nearest' })"
            )
            page.screenshot(
                path=self.folder / f"{width}-{scheme}" / f"{name.replace(' ', '-')}.png"
            )
            names += 1
        page.context.close()
        return names

    def take_for_docs(self, pages, states):
        """Take pages for docs/images, in a wide window."""
        chosen = {
            name: one for name, one in pages.items() if self.is_wanted(f"docs {name}")
        }
        for name, (person, path) in chosen.items():
            viewport = {"width": 1440, "height": 900}
            page = self.browser.new_context(
                storage_state=states[person], viewport=viewport
            ).new_page()
            settled(page, self._address(path))
            page.screenshot(path=self.folder / "docs" / f"{name}.png")
            page.context.close()
        return len(chosen)

    def _address(self, path):
        return self.product.known["DASHBOARD_URL"] + path.format(**self.known)


def _with_pdf(product):
    (found,) = product.sql(
        "SELECT message.public_id FROM mirror_attachedfile file JOIN mirror_message message ON message.id ="
        " file.message_id WHERE file.kind = 'pdf' AND file.place = 1 AND file.state = 'fetched' LIMIT 1"
    )
    return f"/queue/{found[0]}/"


def _signed_in(browser, product, prefix, *, email=""):
    page = browser.new_context().new_page()
    page.goto(product.known["DASHBOARD_URL"] + "/queue/")
    page.get_by_label("Email").fill(email or product.known[f"{prefix}_EMAIL"])
    page.get_by_label("Password").fill(product.known[f"{prefix}_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue/")
    state = page.context.storage_state()
    page.context.close()
    return state


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
