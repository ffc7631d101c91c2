"""The demo's Discord in Chromium: a command sends a message, buttons decide it, and the
answer comes back.
"""

import pytest
from playwright.sync_api import expect

from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alerts")]

# A channel accepts thirty posts a minute, and other tests post there too.
PATIENCE = 90_000


def at(product, channel, who):
    return f"{product.known['DISCORD_URL']}/?channel={channel}&as={who}"


def card_of(page, subject):
    return page.locator("li.message").filter(
        has=page.get_by_role("heading", name=subject, exact=True)
    )


def test_command_is_decided_by_another_persons_press_and_answered_in_its_channel(
    open_page, product
):
    subject = some_words()[:30]
    page = open_page()
    page.goto(at(product, "support", "ana.ferreira"))
    page.get_by_role("button", name="/sendemail").click()
    form = page.get_by_role("dialog", name="/sendemail")
    form.get_by_label("to", exact=True).fill("dana@northwind.example")
    form.get_by_label("subject", exact=True).fill(subject)
    form.get_by_label("body", exact=True).fill(some_words())
    form.get_by_label("mailbox (optional)").fill(product.known["MAILBOX_ADDRESS"])
    form.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("li.private").last).to_contain_text("review", timeout=PATIENCE)
    product.wait_for(lambda: product.cards(subject), timeout=90, what="the card")

    page.goto(at(product, "approvals", "ana.ferreira"))
    card_of(page, subject).get_by_role("button", name="Approve").click()
    expect(page.locator("li.private").last).to_contain_text(
        "somebody else must approve it"
    )
    page.goto(at(product, "approvals", "ben.okafor"))
    card_of(page, subject).get_by_role("button", name="Approve").click()
    expect(page.locator("li.private").last).to_contain_text("Approved")
    expect(card_of(page, subject)).to_contain_text("Ben Okafor", timeout=PATIENCE)
    product.wait_for(lambda: product.mails(subject), timeout=60, what="the mail")
    assert len(product.mails(subject)) == 1

    page.goto(at(product, "support", "ben.okafor"))
    answer = page.locator("li.message:not(.private)").filter(has_text=subject)
    # One answer, which is edited.
    expect(answer.filter(has_text="Delivered")).to_be_visible(timeout=PATIENCE)
    expect(answer).to_have_count(1)
