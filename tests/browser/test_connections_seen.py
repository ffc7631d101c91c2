"""A connection from its first key to its removal, through the pages only, with the
product's real gateway.
"""

import re
import uuid

import pytest
import requests
from playwright.sync_api import expect

from tests.desk import TIMEOUT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def account(product):
    """Keys of another account of the gateway, as its operator creates them."""
    output = product.stack.run(
        "manage", "gateway_account", "--name", "Second team"
    ).stdout
    keys = dict(re.findall(r"^(\w+) +(mm_live_\w+)$", output, re.M))
    return {**keys, "address": re.search(r"\S+@\S+", output)[0]}


@pytest.fixture
def admin(open_as):
    """An admin's page, where invalid input is answered with 422."""
    page = open_as("ADMIN")
    page.watch.expected.append("status of 422")
    return page


def _writes(product, account, subject):
    body = {
        "from": account["address"],
        "to": "dana@northwind.example",
        "subject": subject,
        "body": "Hello Dana",
    }
    answer = requests.post(
        f"{product.known['GATEWAY_URL']}/v1/send_email",
        json=body,
        headers={"Authorization": f"Bearer {account['agent']}"},
        timeout=TIMEOUT,
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["message_id"]


def test_connection_is_added_tested_rotated_paused_and_removed_by_its_pages(
    admin, product, account, ana
):
    page = admin
    base = product.known["DASHBOARD_URL"]
    page.goto(f"{base}/connections/")
    page.get_by_role("link", name="Add a connection").click()
    expect(page.get_by_label("Oversight key")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Second team")
    page.get_by_label("Oversight key").fill(account["admin"])
    page.get_by_role("button", name="Check and connect").click()
    expect(page.get_by_text("enter it under Admin")).to_be_visible()
    page.get_by_label("Oversight key").fill(account["oversight"])
    page.get_by_label("Admin key").fill(account["admin"])
    page.get_by_role("button", name="Check and connect").click()
    expect(page.get_by_role("heading", name="Second team")).to_be_visible()
    page.get_by_role("button", name="Register webhook").click()
    page.get_by_role("button", name="Send a test").click()
    expect(
        page.get_by_text(re.compile(r"The test arrived \d+\.\d s later"))
    ).to_be_visible()

    subject = f"From the second team {uuid.uuid4().hex[:8]}"
    held = _writes(product, account, subject)
    product.wait_for(
        lambda: ana.find(held), timeout=90, what="the held message on the desk"
    )
    page.get_by_role("button", name="Change the secret").click()
    expect(page.get_by_text("The old secret is valid until").first).to_be_visible()
    later = _writes(product, account, f"Later {uuid.uuid4().hex[:8]}")
    product.wait_for(lambda: ana.find(later), timeout=90, what="the next one")
    page.reload()
    expect(page.get_by_text("Signed with the old secret")).to_be_visible()

    page.get_by_label("Reason").fill("The account is being moved")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()

    page.get_by_role("link", name="Remove Second team").click()
    expect(page.get_by_label("Type")).to_be_visible()

    def is_removed():
        # Refused for as long as the account is being read, which it is after a pause.
        page.get_by_label("Type").fill("Second team")
        with page.expect_response(
            lambda answer: answer.request.method == "POST"
        ) as answered:
            page.get_by_role("button", name="Remove connection").click()
        return answered.value.status == 302

    product.wait_for(is_removed, timeout=90, what="the account to be removed")
    expect(page.get_by_role("heading", name="Removed")).to_be_visible()
    assert ana.find(held) is None
    assert subject in ana.get("/history/").text
