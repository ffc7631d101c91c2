"""Correcting a held message in Chromium, with and without scripts, and suggesting a
text to its agent.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.desk import some_words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

REPLACED = """
SELECT 1 FROM approvals_replacement edit JOIN mirror_message first ON first.id = edit.message_id
WHERE edit.state = 'done' AND first.public_id = %s
"""


@pytest.fixture
def held(product, ana):
    """A message in the mailbox whose decisions can be undone for five seconds, held and
    read.
    """
    body = f"Hello Dana,\n\nyour refund is 40 EUR. {some_words()}"
    upstream_id, _ = product.send(
        body=body, **{"from": product.known["MAILBOX2_ADDRESS"]}
    )
    return product.held(ana, upstream_id)


def retype(page, before, after):
    text = page.get_by_label("Text, in Markdown")
    text.fill(text.input_value().replace(before, after))


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_corrected_message_is_held_for_somebody_else(
    open_page, open_as, signed_in, product, held, scripts
):
    page = open_page(storage_state=signed_in, java_script_enabled=scripts)
    page.goto(product.page(held))
    page.locator("#message-bar").get_by_role("link", name="Edit").click()
    retype(page, "40 EUR", "**45 EUR**")
    if not scripts:
        page.get_by_role("button", name="Update the preview").click()
    expect(
        page.frame_locator("iframe[name=preview]").locator("strong", has_text="45 EUR")
    ).to_be_visible()
    page.get_by_label("Subject").fill("Your refund of 45 EUR")
    page.get_by_role("button", name="Send edited version for review").click()
    expect(page.locator("#message")).to_have_attribute("data-message", held["id"])
    product.wait_for(
        lambda: product.sql(REPLACED, held["id"]),
        timeout=60,
        what="the first message to be rejected",
    )
    page.reload()
    expect(page.locator("#edit-state")).to_contain_text("Replaced by an edited version")
    page.locator("#edit-state").get_by_role("link", name="an edited version").click()
    expect(page.locator("#subject")).to_have_text("Your refund of 45 EUR")
    expect(page.locator("#edited-before")).to_contain_text("45 EUR")
    expect(page.locator("#ruling")).to_contain_text(
        "You edited this message, so somebody else must approve it."
    )
    expect(
        page.get_by_role("button", name=re.compile("Approve and send"))
    ).to_have_count(0)
    other = open_as("REVIEWER2")
    other.goto(page.url)
    expect(
        other.get_by_role("button", name=re.compile("Approve and send"))
    ).to_be_visible()
