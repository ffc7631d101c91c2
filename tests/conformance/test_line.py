"""The whole line, from a real MultiMail client to a mail in an inbox, against processes that ./run started."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import requests
from multimail import AsyncMultiMail, MultiMail

from common.fingerprint import short_fingerprint
from upstream.signatures import HEADER, sign

AMBER = 0xF59E0B


def wait_for_outcome(product, subject, word):
    def turned():
        cards = product.cards(subject)
        return cards if cards and f"**{word}" in cards[0]["embeds"][0]["description"] else None

    return product.wait_for(turned, timeout=90, what=f"the card of {subject!r} to say {word}")


def sdk(product, key="AGENT_KEY"):
    return MultiMail(product.known[key], base_url=product.known["GATEWAY_URL"])


def test_sdk_message_is_approved_and_leaves_exactly_once(product, ana):
    subject = f"SDK {time.time_ns()}"
    with sdk(product) as client:
        sent = client.send_email(
            product.known["MAILBOX_ID"], to=["dana@northwind.example"], subject=subject, markdown="Hello **Dana**"
        )
        assert sent["status"] == "pending_scan"
        assert sent["oversight_status"] == "pending_approval"
        assert client.get_email(product.known["MAILBOX_ID"], sent["id"])["status"] == "pending_send_approval"
    row = product.held(ana, sent["id"])
    assert ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302
    mails = product.wait_for(lambda: product.mails(subject), timeout=30, what="the mail to arrive")
    assert len(mails) == 1
    assert mails[0]["X-Envelope-To"] == "dana@northwind.example"
    assert "<strong>Dana</strong>" in mails[0].get_body(("html",)).get_content()
    product.wait_for(lambda: ana.find(sent["id"], "done"), timeout=10, what="the message under Done")
    wait_for_outcome(product, subject, "Handed over")
    assert len(product.mails(subject)) == 1


async def _send_async(product, subject):
    async with AsyncMultiMail(product.known["AGENT_KEY"], base_url=product.known["GATEWAY_URL"]) as client:
        return await client.send_email(
            product.known["MAILBOX_ID"], to=["dana@northwind.example"], subject=subject, markdown="Hi"
        )


def test_async_sdk_gets_a_pending_status(product, ana):
    # In a thread of its own: the browser tests keep a loop running in this one.
    with ThreadPoolExecutor() as threads:
        sent = threads.submit(asyncio.run, _send_async(product, f"Async {time.time_ns()}")).result(30)
    assert sent["status"] == "pending_scan"
    assert product.held(ana, sent["id"])["state"] == "held"


@pytest.mark.parametrize("path", ["/v1/send_email", "/send_email"])
def test_flat_call_of_the_discord_page_is_queued(product, ana, path):
    subject = f"Flat {time.time_ns()}"
    answer = product.call(
        "POST",
        path,
        json={
            "from": product.known["MAILBOX_ADDRESS"],
            "to": "dana@northwind.example",
            "subject": subject,
            "body": "Hello from a slash command",
            "oversight_mode": "gated_send",
            "metadata": {"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
        },
    )
    assert answer.json()["status"] == "queued"
    assert answer.json()["message_id"] == answer.json()["id"]
    assert product.held(ana, answer.json()["message_id"])["subject"] == subject


def test_held_card_is_amber_and_names_who_started_it(product, ana):
    upstream_id, subject = product.send()
    cards = product.wait_for(lambda: product.cards(subject), timeout=90, what="the card")
    embed = cards[0]["embeds"][0]
    fields = {field["name"]: field["value"].replace("\\", "") for field in embed["fields"]}
    assert embed["color"] == AMBER
    assert fields["From"] == product.known["MAILBOX_ADDRESS"]
    assert fields["To"] == "dana@northwind.example"
    assert fields["Triggered by"] == "ana#1 in #outreach (Acme)"
    assert fields["Message ID"] == upstream_id
    row = product.held(ana, upstream_id)
    assert fields["Fingerprint"] == short_fingerprint(row["fingerprint"])
    assert embed["url"] == f"{product.known['DASHBOARD_URL']}/approvals/{upstream_id}/"
    assert cards[0]["pings"] == 0
    link = ana.get(f"/approvals/{upstream_id}/")
    assert link.headers["Location"] == f"/queue/{row['id']}/"


@pytest.mark.proves("case 7")
def test_reject_sends_nothing_and_the_agent_reads_the_reason_by_api_mcp_and_webhook(product, ana):
    upstream_id, subject = product.send()
    row = product.held(ana, upstream_id)
    assert ana.decide(row["id"], "reject", row["fingerprint"]).status_code == 422
    reason = "Wrong amount: it is 49, not 94."
    ana.decide(row["id"], "reject", row["fingerprint"], reason=reason)
    wait_for_outcome(product, subject, "Rejected")
    headers = {"Authorization": f"Bearer {product.known['AGENT_KEY']}", "Content-Type": "application/json"}
    address = f"{product.known['GATEWAY_URL']}/v1/mailboxes/{product.known['MAILBOX_ID']}/emails/{upstream_id}"
    by_mcp = requests.get(address, headers=headers, timeout=10).json()
    assert by_mcp["decision_reason"].startswith(reason)
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        query = "SELECT body FROM approvals_webhookevent WHERE name = 'oversight.rejected' ORDER BY id DESC LIMIT 5"
        bodies = [bytes(body).decode() for (body,) in database.execute(query)]
    assert any(upstream_id in body and reason in body for body in bodies)
    with sdk(product) as client:
        told = client.get_email(product.known["MAILBOX_ID"], upstream_id)
    assert (told["status"], told["decision"]) == ("rejected", "rejected")
    assert told["decision_reason"].startswith("Wrong amount: it is 49, not 94.")
    assert product.mails(subject) == []


def test_card_turns_in_place(product, ana):
    upstream_id, subject = product.send()
    before = product.wait_for(lambda: product.cards(subject), timeout=90, what="the card")
    row = product.held(ana, upstream_id)
    ana.decide(row["id"], "approve", row["fingerprint"])
    after = wait_for_outcome(product, subject, "Handed over")
    assert [card["id"] for card in after] == [before[0]["id"]]
    assert after[0]["edits"] >= 1
    assert after[0]["embeds"][0]["color"] != AMBER


def test_trace_lists_every_step_with_who_when_surface_fingerprint_and_trigger(product, ana):
    upstream_id, subject = product.send()
    row = product.held(ana, upstream_id)
    ana.decide(row["id"], "approve", row["fingerprint"])
    wait_for_outcome(product, subject, "Handed over")
    product.wait_for(
        lambda: any(entry["details"].get("shows") == "Handed over" for entry in ana.trace(row["id"])),
        timeout=20,
        what="the turned card in the trace",
    )
    entries = ana.trace(row["id"])
    by_action = {entry["action"]: entry for entry in entries}
    expected = {
        "message.held", "message.fetched", "message.opened", "verdict.given", "decision.recorded", "decision.calling",
        "decision.applied", "message.approved", "message.sent", "alert.delivered",
    }  # fmt: skip
    assert expected <= set(by_action)
    assert all(entry["at"] and entry["surface"] and entry["actor_kind"] for entry in entries)
    assert by_action["verdict.given"]["actor"] == "Ana Ferreira"
    assert by_action["verdict.given"]["surface"] == "web"
    assert by_action["decision.applied"]["fingerprint"] == row["fingerprint"]
    trigger = {k: v for k, v in by_action["message.held"]["details"].items() if k.startswith("trigger.")}
    assert trigger == {
        "trigger.discord_user": "ana#1", "trigger.discord_channel": "outreach", "trigger.discord_guild": "Acme",
    }  # fmt: skip
    assert [entry["id"] for entry in entries] == sorted(entry["id"] for entry in entries)
    page = ana.get(f"/audit/trace/{row['id']}/").text
    assert all(word in page for word in ("Ana Ferreira", "ana#1", "outreach", "Acme"))


def test_webhook_to_discord_post_carries_one_trace_id(product, ana):
    upstream_id, _ = product.send()
    row = product.held(ana, upstream_id)

    def traces():
        entries = [
            e for e in ana.trace(row["id"]) if e["action"] in ("message.held", "message.fetched", "alert.delivered")
        ]
        return {e["trace"] for e in entries} if len({e["action"] for e in entries}) == 3 else None

    # A channel takes thirty posts a minute, and other tests share this one.
    (trace,) = product.wait_for(traces, timeout=90, what="the webhook, the fetch and the first post in the trace")
    for name in ("web", "worker-desk"):
        product.wait_for(lambda name=name: trace in product.stack.log(name), timeout=10, what=f"{trace} in {name}.log")


def test_each_webhook_twice_and_out_of_order_is_one_message_one_card_one_mail(product, ana):
    upstream_id, subject = product.send()
    row = product.held(ana, upstream_id)
    ana.decide(row["id"], "approve", row["fingerprint"])
    wait_for_outcome(product, subject, "Handed over")
    with psycopg.connect(product.known["DATABASE_URL"]) as database:
        query = "SELECT body FROM approvals_webhookevent WHERE position(%s in body) > 0 ORDER BY id DESC"
        bodies = [bytes(body) for (body,) in database.execute(query, [upstream_id.encode()])]
        assert len(bodies) >= 3
        for body in [*bodies, *reversed(bodies)]:
            assert product.post_webhook(body).json()["result"] == "duplicate"
        # The newest first, under ids of their own, as if the sender had lost its memory and its order.
        for body in bodies:
            again = json.loads(body) | {"event_id": f"again-{time.time_ns()}"}
            assert product.post_webhook(json.dumps(again).encode()).json()["result"] == "late"
        counted = database.execute(
            "SELECT count(*), min(state) FROM approvals_message WHERE upstream_id = %s", [upstream_id]
        ).fetchone()
    assert counted == (1, "sent")
    assert len(product.cards(subject)) == 1
    assert len(product.mails(subject)) == 1


def test_chunked_webhook_is_read_and_bounded(product):
    def in_pieces(body, size=1000):
        return (body[start : start + size] for start in range(0, len(body), size))

    body = json.dumps({"event": "something.new", "event_id": f"chunked-{time.time_ns()}"}).encode()
    headers = {HEADER: sign(body, product.known["WEBHOOK_SECRET"]), "Content-Type": "application/json"}
    address = product.known["WEBHOOK_URL"]
    assert requests.post(address, data=in_pieces(body), headers=headers, timeout=10).json() == {"result": "unknown"}
    assert requests.post(address, data=in_pieces(b"x" * 400_000), headers=headers, timeout=10).status_code == 413


def test_second_reviewer_is_told_who_was_first(product, ana, ben):
    upstream_id, _ = product.send()
    row = product.held(ana, upstream_id)
    assert ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302
    page = ben.get(f"/queue/{row['id']}/")
    answer = ben.post(
        f"/queue/{row['id']}/verdict/", page, outcome="reject", fingerprint=row["fingerprint"], reason="Not like this"
    )
    assert answer.status_code == 409
    assert "Ana Ferreira approved this message first" in answer.text


def test_opening_links_and_prefetching_never_decides(product, ana):
    upstream_id, subject = product.send()
    row = product.held(ana, upstream_id)
    for path in (f"/approvals/{upstream_id}/", f"/queue/{row['id']}/", f"/queue/{row['id']}/body/"):
        for method in ("GET", "HEAD"):
            ana.session.request(
                method, ana.base_url + path, headers={"Sec-Purpose": "prefetch"}, timeout=10, allow_redirects=False
            )
    assert ana.get(f"/queue/{row['id']}/verdict/").status_code == 405
    assert ana.find(upstream_id)["decision"] is None
    assert product.mails(subject) == []


def test_application_role_cannot_rewrite_the_ledger(product):
    with psycopg.connect(product.known["DATABASE_URL"], autocommit=True) as database:
        for statement in (
            "UPDATE audit_entry SET actor_id = 'x'",
            "DELETE FROM audit_entry",
            "TRUNCATE audit_entry CASCADE",
            "UPDATE audit_entrydetail SET fields = '{}'",
            "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(statement)


def test_no_secret_and_no_body_reaches_a_log(product, ana):
    marker = f"confidential-{time.time_ns()}"
    upstream_id, _ = product.send(body=f"The word is {marker}")
    product.held(ana, upstream_id)
    product.wait_for(lambda: upstream_id, timeout=1, what="nothing")
    for name in product.stack.pids():
        log = product.stack.log(name)
        assert marker not in log, name
        for secret in ("AGENT_KEY", "OVERSIGHT_KEY", "ADMIN_KEY", "WEBHOOK_SECRET", "REVIEWER_PASSWORD"):
            assert product.known[secret] not in log, (name, secret)


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("mm_live_wrong", 401), ("READ_KEY", 403)], ids=["none", "wrong", "no scope"]
)
def test_gateway_says_what_is_wrong_with_a_key(product, key, status):
    headers = {"Authorization": f"Bearer {product.known.get(key, key)}"} if key else {}
    answer = requests.post(
        f"{product.known['GATEWAY_URL']}/v1/mailboxes/{product.known['MAILBOX_ID']}/send",
        json={"to": ["a@b.example"], "subject": "x", "markdown": "x"}, headers=headers, timeout=10,
    )  # fmt: skip
    assert answer.status_code == status
    assert answer.json()["error"]


def test_unknown_mailbox_is_404_with_a_sentence(product):
    answer = product.call(
        "POST", "/v1/mailboxes/01NOPE/send", json={"to": ["a@b.example"], "subject": "x", "markdown": "x"}
    )
    assert answer.status_code == 404
    assert answer.json()["error"]
