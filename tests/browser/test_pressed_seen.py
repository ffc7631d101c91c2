"""The demo's Discord in Chromium: a command sends a message, buttons decide it, and the answer comes back."""

import re

import pytest
import requests
from playwright.sync_api import expect

from tests.desk import TIMEOUT, some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alerts")]

# A channel accepts thirty posts a minute, and other tests post there too.
PATIENCE = 90_000


def at(product, channel, who):
    return f"{product.known['DISCORD_URL']}/?channel={channel}&as={who}"


def card_of(page, subject):
    return page.locator("li.message").filter(has=page.get_by_role("heading", name=subject, exact=True))


def test_command_is_decided_by_another_persons_press_and_answered_in_its_channel(open_page, product):
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
    expect(page.locator("li.private").last).to_contain_text("somebody else must approve it")
    page.goto(at(product, "approvals", "ben.okafor"))
    card_of(page, subject).get_by_role("button", name="Approve").click()
    expect(page.locator("li.private").last).to_contain_text("Approved")
    expect(card_of(page, subject)).to_contain_text("Ben Okafor", timeout=PATIENCE)
    expect(card_of(page, subject).get_by_role("button", name="Approve")).to_have_count(0)
    product.wait_for(lambda: product.mails(subject), timeout=60, what="the mail")
    assert len(product.mails(subject)) == 1

    page.goto(at(product, "support", "ben.okafor"))
    answer = page.locator("li.message:not(.private)").filter(has_text=subject)
    for word in ("Approved by Ben Okafor. It is being sent.", "Delivered"):
        expect(answer.filter(has_text=word)).to_be_visible(timeout=PATIENCE)

    def decided():
        events = requests.get(f"{product.known['DISCORD_URL']}/programs.json", timeout=TIMEOUT).json()["events"]
        return {
            one["program"]
            for one in events
            if one["name"].endswith("email.decided") and one["body"]["data"].get("subject") == subject
        }

    product.wait_for(lambda: decided() == {"inngest", "webhook"}, timeout=60, what="the programs' events")


def test_stranger_who_presses_gets_a_link_alone_and_reject_asks_why_for_the_trace(open_page, product, ana):
    upstream_id, subject = product.send()
    product.wait_for(lambda: product.cards(subject), timeout=90, what="the card")
    page = open_page()
    page.goto(at(product, "approvals", "rico_alves"))
    card_of(page, subject).get_by_role("button", name="Approve").click()
    answer = page.locator("li.private").last
    expect(answer).to_contain_text("is not linked to anyone at the desk")
    expect(answer.get_by_role("link")).to_have_attribute("href", re.compile(product.known["DASHBOARD_URL"]))
    assert ana.find(upstream_id)["decision"] is None

    page.goto(at(product, "approvals", "ana.ferreira"))
    expect(page.get_by_text("is not linked to anyone at the desk")).to_have_count(0)
    card_of(page, subject).get_by_role("button", name="Reject").click()
    page.get_by_label("Reason (sent to the agent)").fill("Wrong amount: 40, not 400.")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("li.private").last).to_contain_text("Rejected")
    expect(card_of(page, subject)).to_contain_text("Ana Ferreira", timeout=PATIENCE)
    row = product.wait_for(lambda: ana.find(upstream_id, tab="done"), timeout=90, what="the rejected message")
    entries = product.wait_for(
        lambda: [one for one in ana.trace(row["id"]) if "Wrong amount: 40" in str(one)], timeout=90, what="the entry"
    )
    assert "ana.ferreira" in str(entries)
    page.locator("li.private").last.get_by_role("button", name="Dismiss message").click()
    expect(page.locator("li.private").filter(has_text="Rejected")).to_have_count(0)
