"""Two people approve one message in Chromium: "1 of 2" on row, page and notice, and the
second press sends it.
"""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

RULES = '[{"id": "r0", "name": "Two of us", "then": {"approvals": {"0": 2}}}]'


@pytest.fixture
def two_needed(product):
    """Put a rule in force that asks for two approvals, for as long as the test runs."""
    product.sql(
        "UPDATE policy_policyversion SET state = 'retired' WHERE state = 'active'"
    )
    product.sql(
        "INSERT INTO policy_policyversion (number, state, rules, note, activated_at, based_on, edits)"
        " SELECT coalesce(max(number), 0) + 1, 'active', %s::jsonb, '', now(), 0, 0 FROM policy_policyversion",
        RULES,
    )
    yield
    product.sql(
        "UPDATE policy_policyversion SET state = 'retired' WHERE state = 'active'"
    )


@pytest.mark.usefixtures("two_needed")
def test_first_approval_counts_can_be_taken_back_and_the_second_sends(
    open_as, product, ana
):
    message = product.hold(ana)
    pages = (open_as("REVIEWER"), open_as("REVIEWER2"))
    for page in pages:
        page.goto(product.page(message))
        expect(page.locator("#message-bar")).to_contain_text("0 of 2 approved")
    hers, his = pages
    own_row = hers.locator(f'#list .item[data-message="{message["id"]}"]')
    expect(own_row).to_contain_text("0 of 2 approved")
    hers.locator("#decide .approve button").click()
    notice = hers.locator("#decided")
    expect(notice).to_contain_text("Approved: 1 of 2.")
    expect(his.locator("#message-bar")).to_contain_text("1 of 2 approved")
    expect(his.locator("#ruling")).to_contain_text("Ana Ferreira approved")
    expect(own_row).to_be_hidden()
    notice.get_by_role("button", name="Take back").click()
    expect(his.locator("#message-bar")).to_contain_text("0 of 2 approved")
    expect(hers.locator("#message-notes")).to_contain_text(
        "Your approval is taken back."
    )
    expect(hers.locator("#message-bar")).to_contain_text("0 of 2 approved")
    # One press decides one message: the next one counts after a moment.
    hers.evaluate("new Promise((done) => setTimeout(done, 450))")
    hers.locator("#decide .approve button").click()
    expect(notice).to_contain_text("Approved: 1 of 2.")
    expect(his.locator(f'#list .item[data-message="{message["id"]}"]')).to_contain_text(
        "1 of 2 approved"
    )
    his.locator("#decide .approve button").click()
    expect(his.locator("#decided")).to_contain_text("Approved.")
    product.wait_for(
        lambda: product.sql("SELECT 1 FROM approvals_decision WHERE outcome = 'approve' AND message_id ="
                            " (SELECT id FROM mirror_message WHERE upstream_id = %s)", message["upstream_id"]),
        timeout=30, what="the decision",
    )  # fmt: skip
