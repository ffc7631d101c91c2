"""The whole line, from a real MultiMail client to a mail in an inbox, against processes
that ./run started.
"""

import time
from types import SimpleNamespace

import pytest
from multimail import MultiMail

STEPS = {*"""
    message.held message.fetched message.opened verdict.given decision.recorded
    decision.calling decision.applied message.approved message.sent alert.delivered
""".split()}  # fmt: skip


def sdk(product):
    return MultiMail(product.known["AGENT_KEY"], base_url=product.known["GATEWAY_URL"])


@pytest.fixture(scope="module")
def line(product, ana, alerts):
    """One message from the SDK's call to the updated card, with everything on the way."""
    subject = f"SDK {time.time_ns()}"
    with sdk(product) as client:
        fields = {"subject": subject, "markdown": "Hello **Dana**"}
        sent = client.send_email(
            product.known["MAILBOX_ID"], to=["dana@northwind.example"], **fields
        )
        read = client.get_email(product.known["MAILBOX_ID"], sent["id"])
    # The SDK has no metadata; the origin is written as the flat call writes it.
    row = product.held(ana, sent["id"])
    product.wait_for(lambda: product.cards(subject), timeout=120, what="the card")
    ana.approve(row)

    def delivered():
        cards = product.cards(subject)
        return cards and "**Delivered" in cards[0]["embeds"][0]["description"]

    product.wait_for(delivered, timeout=120, what="the card to say Delivered")
    return SimpleNamespace(subject=subject, sent=sent, read=read, row=row)


def test_sdk_message_is_approved_and_leaves_exactly_once(product, ana, line):
    assert line.sent["status"] == "pending_scan"
    assert line.sent["oversight_status"] == "pending_approval"
    assert line.read["status"] == "pending_send_approval"
    [mail] = product.mails(line.subject)
    assert mail["X-Envelope-To"] == "dana@northwind.example"
    assert "<strong>Dana</strong>" in mail.get_body(("html",)).get_content()
    assert product.wait_for(
        lambda: ana.find(line.sent["id"], "done"),
        timeout=60,
        what="the message under Done",
    )


@pytest.mark.slow
def test_trace_lists_every_step_with_who_when_and_surface_under_one_id(
    product, ana, line
):
    def whole():
        entries = ana.trace(line.row["id"])
        return (
            entries
            if any(entry["details"].get("shows") == "Delivered" for entry in entries)
            else None
        )

    entries = product.wait_for(whole, timeout=60, what="the turned card in the trace")
    by_action = {entry["action"]: entry for entry in reversed(entries)}
    assert set(by_action) >= STEPS
    assert all(
        entry["at"] and entry["surface"] and entry["actor_kind"] for entry in entries
    )
    assert by_action["verdict.given"]["actor"] == "Ana Ferreira"
    assert by_action["decision.applied"]["fingerprint"] == line.row["fingerprint"]
    # One trace, which the logs also name, covers the arrival to the first post in
    # Discord.
    [trace] = {
        by_action[name]["trace"]
        for name in ("message.held", "message.fetched", "alert.delivered")
    }
    assert trace in product.stack.log("worker-desk")


def test_no_secret_and_no_body_reaches_a_log(product, ana):
    marker = f"confidential-{time.time_ns()}"
    product.held(ana, product.send(body=f"The word is {marker}")[0])
    secrets = (
        "AGENT_KEY",
        "OVERSIGHT_KEY",
        "ADMIN_KEY",
        "WEBHOOK_SECRET",
        "REVIEWER_PASSWORD",
    )
    words = {"the body": marker} | {name: product.known[name] for name in secrets}
    logs = {name: product.stack.log(name) for name in product.stack.pids()}
    assert [
        (word, log)
        for word, text in words.items()
        for log, lines in logs.items()
        if text in lines
    ] == []
