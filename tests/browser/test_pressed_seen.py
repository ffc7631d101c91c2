"""The demo's Discord in Chromium: the command lists a message, a button decides it, and
the answer comes back to the channel where it began.
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


def test_message_is_listed_decided_by_a_press_and_answered_where_it_began(
    open_page, product, hold
):
    subject = some_words()[:30]
    mailbox = product.known["MAILBOX_ADDRESS"]
    hold(subject, **{"from": mailbox, "metadata": {"discord_channel": "support"}})
    product.wait_for(lambda: product.cards(subject), timeout=90, what="the card")
    page = open_page()
    page.goto(at(product, "approvals", "ben.okafor"))
    page.get_by_role("button", name="/pending").click()
    form = page.get_by_role("dialog", name="/pending")
    form.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("li.private").last).to_contain_text("for review")
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
