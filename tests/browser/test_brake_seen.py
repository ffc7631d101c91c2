"""The brake in Chromium: an admin sets a cap, an agent passes it, a reviewer pauses its
key and rejects the flood.
"""

import uuid

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ana")]

IS_APART = (
    "SELECT upstream_id FROM mirror_message JOIN approvals_review ON message_id = id"
    " WHERE upstream_id = ANY(%s) AND is_apart"
)


@pytest.fixture
def agent(product):
    """A key of an agent that runs wild."""
    name = f"Wild {uuid.uuid4().hex[:6]}"
    body = {"name": name, "scopes": ["read", "send"]}
    made = product.call("POST", "/v1/api-keys", key="ADMIN_KEY", json=body).json()
    product.known["WILD_KEY"] = made["api_key"]
    yield name
    product.sql("DELETE FROM approvals_cap WHERE mailbox_id IS NOT NULL")
    product.call("DELETE", f"/v1/api-keys/{made['id']}", key="ADMIN_KEY")


def test_flood_is_set_apart_and_ended_by_a_reviewer(desk, open_as, product, agent):
    home, admin = product.known["DASHBOARD_URL"], open_as("ADMIN")
    box = "SELECT id FROM mirror_mailbox WHERE upstream_id = %s"
    [(mailbox,)] = product.sql(box, product.known["MAILBOX2_ID"])
    admin.goto(f"{home}/mailboxes/{mailbox}/caps/")
    admin.watch.expected.append("422")
    hour = admin.get_by_role("group", name="Of one API key").get_by_label("An hour")
    hour.fill("2")
    admin.get_by_role("button", name="Save").click()
    expect(hour).to_have_value("2")
    admin.goto(f"{home}/caps/")

    def send():
        body = {
            "from": product.known["MAILBOX2_ADDRESS"],
            "to": "lee@x.example",
            "subject": "Loop",
            "text": str(uuid.uuid4()),
        }
        return product.call("POST", "/v1/send_email", key="WILD_KEY", json=body)

    sent = [send().json()["id"] for _ in range(6)]
    read = "SELECT 1 FROM mirror_message WHERE upstream_id = ANY(%s) AND hydrated_at IS NOT NULL"
    product.wait_for(
        lambda: len(product.sql(read, sent)) == 6,
        timeout=60,
        what="the messages to be read",
    )
    # Webhooks may come in another order than the messages were sent in.
    apart = product.sql(IS_APART, sent)
    desk.goto(f"{home}/queue/")
    desk.get_by_role("link", name="set apart").click()
    expect(desk.get_by_role("heading", name="Set apart")).to_be_visible()
    desk.get_by_role("link", name=f"4 messages from the key “{agent}”").click()
    desk.get_by_role("link", name="Loop").first.click()
    expect(desk.locator("#set-apart")).to_contain_text("Set apart from the queue")
    desk.locator("#set-apart").get_by_role("link").click()
    desk.get_by_role("button", name="Pause this key").click()
    expect(desk.locator("body")).to_contain_text(f"The key {agent} is paused.")
    desk.get_by_label("Reason").fill("The agent ran wild.")
    desk.get_by_role("button", name="Reject all 4").click()
    expect(desk.locator("body")).to_contain_text("Rejecting 4 messages.")
    rejected = (
        "SELECT message.upstream_id FROM approvals_decision decision JOIN mirror_message message"
        " ON message.id = decision.message_id WHERE outcome = 'reject' AND reason = 'The agent ran wild.'"
        " ORDER BY 1"
    )
    product.wait_for(
        lambda: product.sql(rejected) == sorted(apart),
        timeout=60,
        what="all to be rejected once",
    )
    desk.reload()
    expect(desk.get_by_text("Nothing is left here.")).to_be_visible()
