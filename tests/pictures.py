"""Takes screenshots of every page, in four windows, in light and dark, and those of
docs/images: `python -m tests.pictures FOLDER [names...]`.

It starts its own product with the demo, and removes that at the end.
"""

import html
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from launcher.quality import find_chromium
from simple_form import simplify
from tests.browser.conftest import sign_in
from tests.browser.looking import open_up, settled
from tests.browser.pages import ADMIN_PAGES, OPENED, PAGES
from tests.desk import Product
from tests.policy_showcase import make_policy
from tests.stack import Stack

# Width, height, and pixels for each of CSS; the last is 1280 x 800 at a zoom of 200 %.
WINDOWS = ((1440, 900, 1), (1280, 800, 1), (390, 844, 2), (640, 400, 2))
SCHEMES = ("light", "dark")
# Messages in the queue before the first picture is taken.
ENOUGH = 12
WIDE = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
# The pictures of docs/images: person, address, keys to press, element that is there
# then, and window.
DOCS = {
    "desk": ("REVIEWER", "{crowded}?order=riskiest", (), "#message", WIDE),
    "desk-dark": (
        "REVIEWER",
        "{held}?order=riskiest",
        (),
        "#message",
        {**WIDE, "color_scheme": "dark"},
    ),
    "phone": ("REVIEWER", "{crowded}", (), "#message", PHONE),
    "high-risk": ("REVIEWER", "{crowded}approve/", (), "#careful", WIDE),
    "bulk": ("REVIEWER", "/queue/", *OPENED["sheet of several"][1:], WIDE),
}
# The same, taken after some decisions, and with an active policy.
DOCS_HOME = {"home": ("REVIEWER", "/", (), "h1", WIDE)}
DOCS_POLICY = {
    name: (person, path, (), "h1", WIDE)
    for name, person, path in (
        ("policy", "ADMIN", "/policy/"),
        ("two-approvals", "REVIEWER", "{two}"),
        ("review-plans", "ADMIN", "/review-plans/"),
        ("set-apart", "REVIEWER", "{flood}"),
        ("changes", "ADMIN", "/changes/"),
    )
}
DESIGNED = (
    Path(__file__).parent / "corpus" / "designed" / "037_countdown_gif_urgent.html"
)
BESIDE = """<style>body{{display:flex;gap:16px;margin:12px;font:15px sans-serif}}div{{flex:1}}
iframe{{width:100%;height:372px;margin-top:8px;border:1px solid #bbb}}</style>
<div>As it was designed<iframe sandbox srcdoc="{}"></iframe></div>
<div>Its simple form<iframe sandbox srcdoc="{}"></iframe></div>"""


def main(folder, wanted):
    """Take all pictures, or those with these names, and print how many."""
    with tempfile.TemporaryDirectory(prefix="countersign-pictures-") as temporary:
        stack = Stack(Path(temporary), DEMO="1").start()
        try:
            product = Product(stack)
            reader = product.reviewer()
            product.wait_for(
                lambda: len(_read(reader)) >= ENOUGH,
                timeout=120,
                what="the demo's messages in the queue",
            )
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=find_chromium(), args=["--no-sandbox"]
                )
                pictures = _Pictures(browser, product, folder, wanted)
                pictures.know(**_demo_messages(product, reader))
                pictures.take_all()
                pictures.take_for_docs(DOCS)
                _decide_some(reader)
                pictures.take_for_docs(DOCS_HOME)
                pictures.take_simple_form()
                if any(pictures.is_wanted(f"docs {name}") for name in DOCS_POLICY):
                    pictures.know(**make_policy(product, reader))
                    pictures.take_for_docs(DOCS_POLICY)
                browser.close()
        finally:
            stack.stop()
    print(f"{pictures.number} pictures in {folder}")
    return 0


def _read(reader):
    return [row for row in reader.queue() if row["fingerprint"]]


def _decide_some(reader):
    """Approve a few messages and reject one, for the pages that show decisions."""
    rows = [row for row in _read(reader)[2:] if row["risk_level"] != "high"]
    for number, row in enumerate(rows[:5]):
        outcome = ("approve", "") if number else ("reject", "The amount is wrong.")
        reader.decide(row["id"], outcome[0], row["fingerprint"], outcome[1])


def _demo_messages(product, reader):
    """Return values for the braces in addresses: of a high-risk message, of another
    one, of its mailbox, and of an allowlist.
    """
    by_subject = {row["subject"]: row["id"] for row in reader.queue()}
    pay, invoice = (
        next(id_ for subject, id_ in by_subject.items() if subject.startswith(start))
        for start in ("Updated payment details", "Invoice 2183")
    )
    [(mailbox,)] = product.sql(
        "SELECT mailbox_id FROM mirror_message WHERE public_id = %s", invoice
    )
    [(customers,)] = product.sql(
        "INSERT INTO policy_allowlist (name, version) VALUES ('Customers', 1) RETURNING id"
    )
    for pattern in ("northwind.example", "*.fabrikam.example", "lee@contoso.example"):
        product.sql(
            "INSERT INTO policy_allowentry (allowlist_id, pattern, note) VALUES (%s, %s, %s)",
            *(customers, pattern, "Since the spring fair"),
        )
    return {
        "crowded": f"/queue/{pay}/",
        "held": f"/queue/{invoice}/",
        "id": invoice,
        "mailbox": mailbox,
        "list": customers,
    }


class _Pictures:
    """Takes pictures of pages, and counts them."""

    def __init__(self, browser, product, folder, wanted):
        self.browser = browser
        self.product = product
        self.folder = folder
        self.wanted = wanted
        self.known = {}
        self.number = 0
        self._states = {"": None}

    def know(self, **values):
        """Set values for the braces in the addresses of pages."""
        self.known |= values

    def is_wanted(self, name):
        return not self.wanted or any(word in name for word in self.wanted)

    def take_all(self):
        """Take every page, and the parts that open on pages, in every window."""
        pages = {name: (path, (), "body") for name, path in PAGES.items()} | OPENED
        for_admins = {name: (path, (), "body") for name, path in ADMIN_PAGES.items()}
        sign_in = {"sign-in": pages.pop("sign-in")}
        for width, height, factor in WINDOWS:
            for scheme in SCHEMES:
                options = {
                    "viewport": {"width": width, "height": height},
                    "device_scale_factor": factor,
                    "color_scheme": scheme,
                }
                for person, some in (
                    ("", sign_in),
                    ("REVIEWER", pages),
                    ("ADMIN", for_admins),
                ):
                    for name, (path, steps, there) in some.items():
                        if self.is_wanted(name):
                            file = f"{width}-{scheme}/{name.replace(' ', '-')}.png"
                            self._take(file, person, path, steps, there, options)

    def take_for_docs(self, shots):
        """Take pictures for docs/images."""
        for name, shot in shots.items():
            if self.is_wanted(f"docs {name}"):
                self._take(f"docs/{name}.png", *shot)

    def take_simple_form(self):
        """Take the picture of a designed newsletter next to its simple form."""
        if not self.is_wanted("docs simple-form"):
            return
        source = DESIGNED.read_text()
        page = self.browser.new_context(
            viewport={"width": 1200, "height": 430}
        ).new_page()
        page.route("**/*", lambda route: route.abort())
        page.set_content(
            BESIDE.format(html.escape(source), html.escape(simplify(source).html))
        )
        self._save(page, "docs/simple-form.png")

    def _take(self, file, person, path, steps, there, options):
        page = self.browser.new_context(
            storage_state=self._signed_in(person), **options
        ).new_page()
        settled(page, self._url(path.format(**self.known)))
        open_up(page, steps, there)
        page.locator(there).first.evaluate(
            "(one) => one.scrollIntoView({ block: 'nearest' })"
        )
        self._save(page, file)

    def _save(self, page, file):
        page.screenshot(path=self.folder / file)
        page.context.close()
        self.number += 1

    def _url(self, path):
        return self.product.known["DASHBOARD_URL"] + path

    def _signed_in(self, prefix):
        """Return the cookies of a person, who signs in once."""
        if prefix not in self._states:
            page = self.browser.new_context().new_page()
            sign_in(page, self.product, prefix)
            self._states[prefix] = page.context.storage_state()
            page.context.close()
        return self._states[prefix]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
