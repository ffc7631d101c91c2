"""The demo's stand-ins, for Discord, for everybody's inbox and for programs, pass
axe-core and fit a phone.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import everywhere, is_narrow, settled, unfolded
from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alerts")]


@pytest.fixture
def delivered(product, ana):
    """The path of a mail in the inbox; its card is in the channel, and programs were
    told of it.
    """
    row = product.hold(ana, body=some_words())
    ana.decide(row["id"], "approve", row["fingerprint"])
    product.wait_for(lambda: product.mails(row["subject"]), timeout=90, what="the mail")
    product.wait_for(lambda: product.cards(row["subject"]), timeout=90, what="the card")
    return row["subject"]


def faults_of(page):
    page.set_viewport_size({"width": 390, "height": 844})
    return [
        *([] if is_narrow(page) else ["too wide"]),
        *everywhere(page),
        *unfolded(page),
    ]


def test_stand_ins_pass_axe_and_fit_a_phone(open_page, product, delivered):
    base = product.known["DISCORD_URL"]
    page = open_page()
    found = {}
    page.watch.expected += ["404"]
    for path in (
        "/",
        "/?channel=support",
        "/?channel=mail-log",
        "/inbox/",
        "/programs/",
        "/nothing/",
    ):
        settled(page, base + path)
        found[path] = faults_of(page)
    page.goto(f"{base}/inbox/")
    page.get_by_role("link", name=delivered).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(delivered)
    found["mail"] = faults_of(page)
    page.goto(f"{base}/?channel=support")
    for number, opener in enumerate(page.locator(".commands button").all()):
        opener.click()
        found[f"command {number}"] = [*everywhere(page)]
        page.get_by_role("button", name="Cancel").locator("visible=true").click()
    assert {name: some for name, some in found.items() if some} == {}
