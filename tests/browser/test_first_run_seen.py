"""The whole first run without the demo, as somebody does it who has never seen the
project: two commands, then pages.

What is typed wrongly on the way is told in words; the next step stands on the page of
the set-up each time.
"""

import json
import re
from urllib.parse import urljoin

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import watched_pages
from tests.browser.looking import pause
from tests.serving import Handler, serving
from tests.stack import running_stack

pytestmark = pytest.mark.slow

PASSWORD = "paper lantern under northern rain"
WEBHOOK = "/api/webhooks/1180000000000000427/token-of_the-first-run"


@pytest.fixture(scope="module", autouse=True)
def _short_queue():
    """Override the shared fixture: these tests start their own product."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A product as `DEMO=0 ./run` starts it: no people, no account, no connection."""
    with running_stack(tmp_path_factory, DEMO="0") as stack:
        yield stack


@pytest.fixture
def discord(desk):
    """A stand-in for Discord's webhooks, where the product may connect; `posts` are the
    received requests.
    """
    posts = []

    class Discord(Handler):
        def do_POST(self):  # noqa: N802
            posts.append(json.loads(self.body()))
            self.reply(200, {"id": str(1000 + len(posts))})

        do_PATCH = do_POST  # noqa: N815

    with serving(Discord, desk.hook_port) as origin:
        yield type("Served", (), {"origin": origin, "posts": posts})


@pytest.fixture
def browse(chromium, desk):
    """Return a function that opens a page in a new browser; violations fail the test."""
    hosts = {f"127.0.0.1:{desk.env[name]}" for name in ("PORT", "LIVE_PORT")}
    with watched_pages(chromium, hosts) as open_page:
        yield open_page


def step(page, name):
    return page.locator(f"#step-{name}")


def go(page, name, label):
    """Press the button of a step on the set-up page."""
    page.goto(urljoin(page.url, "/setup/"))
    step(page, name).get_by_role("link", name=label).click()


def see(page, name, word):
    page.goto(urljoin(page.url, "/setup/"))
    expect(step(page, name).locator(".chip").first).to_have_text(word)


def join(page, link, name):
    page.goto(link)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Repeat the password").fill(PASSWORD)
    page.get_by_role("button", name="Join").click()


def connect(page, keys):
    """Swap two keys first, as people do, then enter each in its field."""
    go(page, "connect", "Add a connection")
    page.get_by_label("Name", exact=True).fill("Our gateway")
    page.get_by_role("radio", name="Built-in gateway").check()
    page.get_by_label("Oversight key").fill(keys["agent"])
    page.get_by_role("button", name="Check and connect").click()
    # Above the form, with a link to the field, and at the field.
    expect(page.get_by_text("This key may also send").first).to_be_visible()
    expect(page.get_by_label("Oversight key")).to_have_value("")
    page.get_by_label("Oversight key").fill(keys["oversight"])
    page.get_by_label("Read key").fill(keys["read"])
    page.get_by_label("Admin key").fill(keys["admin"])
    page.get_by_role("button", name="Check and connect").click()
    page.wait_for_url(re.compile(r"/connections/\d+/"))


def hook(page):
    go(page, "webhook", "Register the webhook")
    page.get_by_role("button", name="Register webhook").click()
    page.get_by_role("link", name="Deliveries and tests").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("A test is on its way")).to_be_visible()


def alert(page, discord):
    go(page, "alerts", "Add a destination")
    page.get_by_label("Name", exact=True).fill("#approvals")
    page.get_by_label("Address of the Discord webhook").fill(discord.origin + WEBHOOK)
    page.get_by_role("button", name="Add destination").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("Discord accepted the test")).to_be_visible()
    page.get_by_role("link", name="Back to the set-up").click()


def invite(page):
    """Invite a reviewer and return the link, which is shown once."""
    go(page, "people", "Invite people")
    page.get_by_label("Email address").fill("rita@example.com")
    page.get_by_role("checkbox", name="Reviewer").check()
    page.get_by_role("button", name="Create invitation link").click()
    page.get_by_text("/join/").first.wait_for()
    found = re.search(r"https?://[^\s\"<]+/join/[^\s\"<]+/", page.content())
    assert found, "the page shows no link"
    return found[0]


def test_newcomer_sets_the_desk_up_and_decides_the_first_message(desk, browse, discord):
    link = re.search(
        r"http\S+/join/\S+",
        desk.run("manage", "first_admin", "--email", "you@example.com").stdout,
    )[0]
    made = desk.run("manage", "gateway_account", "--name", "Your team").stdout
    keys = {
        name.strip(): key
        for name, key in re.findall(r"^(.*?)\s+(mm_\w+)$", made, re.MULTILINE)
    }
    admin = browse()
    # A key in the wrong field is answered with 422.
    admin.watch.expected.append("status of 422")
    join(admin, link, "Yara Doe")
    admin.wait_for_url("**/setup/")
    expect(admin.get_by_text("4 of 4 steps are left")).to_be_visible()
    connect(admin, keys)
    hook(admin)
    see(admin, "webhook", "Done")
    desk.wait_for(
        lambda: see(admin, "queue", "Done") is None,
        timeout=120,
        what="the queue to be read",
    )
    alert(admin, discord)
    reviewer = browse()
    join(reviewer, invite(admin), "Rita Roe")
    expect(reviewer.locator("#rail")).to_be_visible()
    see(admin, "people", "Done")
    send_the_first_message(admin, keys["agent"])
    decide(desk, reviewer, discord)
    see(admin, "letter", "Done")


def send_the_first_message(admin, key):
    """Run the command that the step shows."""
    line = step(admin, "letter").locator("pre").inner_text()
    url = re.search(r"http\S+/v1/send_email", line)[0]
    body = json.loads(re.search(r"-d '(.*)'", line)[1])
    answer = requests.post(
        url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=10
    )
    assert answer.status_code == 202, answer.text


def decide(desk, reviewer, discord):
    """Find the message in the queue, approve it, and see the card change in Discord."""
    row = reviewer.locator("#list .item", has_text="Hello from the first run")
    reviewer.goto(f"{desk.url}/queue/")
    # The first message opens itself, and a reload ends that.
    reviewer.watch.expected += ["htmx:afterRequest", "htmx:send"]
    # A message that arrives while the list is open is announced above it.
    desk.wait_for(
        lambda: reviewer.reload() and row.count(), 120, "the message in the queue"
    )
    row.click()
    approve = reviewer.get_by_role("button", name=re.compile("^Approve")).first
    approve.wait_for()
    # A press right after a message opened is taken for the rest of a double press.
    pause(reviewer)
    approve.click()
    said = reviewer.locator("#message").get_by_text(re.compile("Sending|Approved"))
    expect(said.first).to_be_visible()
    cards = lambda: [post["embeds"][0] for post in discord.posts if "embeds" in post]  # noqa: E731
    desk.wait_for(
        lambda: any("Hello from the first run" in one["title"] for one in cards()),
        120,
        "the card",
    )
    desk.wait_for(
        lambda: "Held" not in cards()[-1]["description"], 120, "the card to turn"
    )
