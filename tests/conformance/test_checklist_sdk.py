"""MultiMail's own Python SDK, unchanged, through all its methods."""

import asyncio
import base64
import contextlib

import httpx
import pytest
from multimail import AsyncMultiMail, MultiMail

from tests.conformance.tenant import ids_of, unique

FILE = bytes(range(256)) * 3


@contextlib.contextmanager
def running(loop):
    """Let this event loop, or none, count as running in this thread.

    Browser tests leave one that does. Django keeps its database connections apart by
    whether one does, so the gateway has to see what the test sees.
    """
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


def wired_to(gateway, monkeypatch):
    """Route the SDK's own HTTP client to the gateway in this process, without a socket."""
    loop_of_test = asyncio._get_running_loop()

    def answer(transport, request):
        headers = {
            name: text
            for name, text in request.headers.items()
            if name != "content-length"
        }
        path = request.url.raw_path.decode()
        answer = gateway.call(
            request.method, path, data=request.read(), headers=headers, raw=True
        )
        return httpx.Response(
            answer.status_code, headers=dict(answer.headers), content=answer.content
        )

    async def answer_async(transport, request):
        await request.aread()
        with running(loop_of_test):
            return answer(transport, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer_async)


@pytest.fixture(
    params=[MultiMail, pytest.param(AsyncMultiMail, marks=pytest.mark.slow)],
    ids=["sync", "async"],
)
def sdk(request, gateway, tenant, monkeypatch):
    """A function that calls a method of the SDK with one of the account's keys, the same
    for both clients; it records the methods that are still to be used.
    """
    wired_to(gateway, monkeypatch)
    kind = request.param
    clients = {}

    def use(key, method, *args, **kwargs):
        use.left.discard(method)
        if key not in clients:
            clients[key] = kind(tenant.keys[key], base_url="http://localhost")
        call = getattr(clients[key], method)
        if kind is MultiMail:
            return call(*args, **kwargs)
        with running(None):
            return asyncio.run(call(*args, **kwargs))

    use.left = {name for name in vars(kind) if not name.startswith("_")}
    yield use
    for key in clients:
        use(key, "close")


def use_messages(sdk, tenant):
    file = {
        "name": "a b.bin",
        "content_base64": base64.b64encode(FILE).decode(),
        "content_type": "application/x-t",
    }
    box = tenant.mailbox
    sent = sdk(
        "agent",
        "send_email",
        box,
        to=["dana@northwind.example"],
        cc=["cee@northwind.example"],
        bcc=["bea@northwind.example"],
        subject="With everything",
        markdown="Hello",
        attachments=[file],
        idempotency_key="first",
    )
    assert sent["status"] == "pending_scan"
    assert sdk("agent", "download_attachment", box, sent["id"], "a b.bin") == FILE
    assert sdk("agent", "get_email", box, sent["id"])["text_body"] == "Hello"
    for options, ids in (
        ({}, [sent["id"]]),
        ({"direction": "inbound"}, []),
        ({"limit": 1, "offset": 1}, []),
    ):
        assert ids_of(sdk("agent", "list_emails", box, **options)["emails"]) == ids
    return sent


def use_replies(sdk, tenant):
    received = tenant.receive()
    box = tenant.mailbox
    reply = sdk("agent", "reply_email", box, received["id"], markdown="On its way")
    thread = sdk("agent", "get_thread", box, received["thread_id"])
    assert ids_of(thread["emails"]) == [received["id"], reply["id"]]
    assert sdk("agent", "cancel_email", box, reply["id"])["status"] == "cancelled"


def use_tags(sdk, tenant, email_id):
    tags = {"order": "4471", "a/b": "c"}
    assert sdk("agent", "set_tags", tenant.mailbox, email_id, tags)["tags"] == tags
    sdk("agent", "delete_tag", tenant.mailbox, email_id, "a/b")
    left = sdk("agent", "get_tags", tenant.mailbox, email_id)
    assert left["tags"] == {"order": "4471"}


def use_oversight(sdk, tenant, email_id):
    assert ids_of(sdk("oversight", "list_pending")) == [email_id]
    decided = sdk("oversight", "decide", email_id, "approve", reason="looks right")
    assert decided["status"] == "approved_and_sent"
    assert decided["reason"] == "looks right"
    assert tenant.wait_for_mails("With everything")
    assert sdk("oversight", "list_pending") == []


def use_contacts(sdk):
    dana = "dana@northwind.example"
    made = sdk("agent", "add_contact", dana, "Dana Fox", tags=["vip"])
    assert ids_of(sdk("read", "list_contacts", q="dana fox")) == [made["id"]]
    sdk("admin", "delete_contact", made["id"])
    assert sdk("read", "list_contacts") == []


def use_keys(sdk, tenant):
    made = sdk("admin", "create_api_key", "A key")
    assert made["scopes"] == ["read"]
    assert made["id"] in ids_of(sdk("admin", "list_api_keys"))
    sdk("admin", "revoke_api_key", made["id"])
    refused = tenant.gateway.call("GET", "/v1/account", key=made["api_key"])
    assert refused.status_code == 401


def use_webhooks(sdk, tenant):
    url = tenant.gateway.hooks.url + "/sdk"
    events = ["oversight.pending"]
    made = sdk("admin", "create_webhook", url, events, secret="geheimnis")
    assert made["signing_secret"] == "geheimnis"
    assert ids_of(sdk("admin", "list_webhooks")) == [made["id"]]
    sdk("admin", "delete_webhook", made["id"])
    assert sdk("admin", "list_webhooks") == []


def use_mailboxes(sdk, tenant):
    address = f"second@{tenant.address.partition('@')[2]}"
    mode = {"oversight_mode": "gated_all", "signature_block": "-- us"}
    made = sdk("admin", "create_mailbox", address, "Second", **mode)
    assert (made["address"], made["oversight_mode"]) == (address, "gated_all")
    sdk("admin", "update_mailbox", made["id"], display_name="The second")
    shown = {row["id"]: row for row in sdk("read", "list_mailboxes")}
    assert shown[made["id"]]["display_name"] == "The second"
    sdk("admin", "delete_mailbox", made["id"])
    assert ids_of(sdk("read", "list_mailboxes")) == [tenant.mailbox]


def use_domains(sdk):
    made = sdk("admin", "add_domain", f"{unique('d').replace(' ', '')}.example")
    assert made["status"] == "pending"
    assert sdk("admin", "verify_domain", made["id"])["status"] == "pending"
    assert made["id"] in ids_of(sdk("admin", "list_domains"))
    sdk("admin", "delete_domain", made["id"])
    assert made["id"] not in ids_of(sdk("admin", "list_domains"))


def use_suppressions(sdk, tenant):
    gone = f"gone+{tenant.mailbox.lower()}@northwind.example"
    tenant.gateway.mail.refuse[gone] = "550 no such user"
    sdk("oversight", "decide", tenant.send(to=[gone])["id"], "approve")
    [row] = tenant.wait(lambda: sdk("admin", "list_suppressions"))
    assert row["email_address"] == gone
    sdk("admin", "remove_suppression", gone)
    assert sdk("admin", "list_suppressions") == []


def use_account(sdk):
    sdk("admin", "update_account", name="A new name")
    assert sdk("read", "get_account")["name"] == "A new name"
    assert sdk("read", "get_usage")["emails_sent"] >= 1
    assert len(sdk("admin", "get_audit_log", limit=2)) == 2


def test_every_method_of_the_sdk_does_what_it_says(sdk, tenant):
    assert sdk("oversight", "list_pending") == sdk("admin", "list_webhooks") == []
    sent = use_messages(sdk, tenant)
    use_tags(sdk, tenant, sent["id"])
    use_oversight(sdk, tenant, sent["id"])
    use_contacts(sdk)
    use_keys(sdk, tenant)
    use_webhooks(sdk, tenant)
    use_mailboxes(sdk, tenant)
    use_domains(sdk)
    use_suppressions(sdk, tenant)
    use_replies(sdk, tenant)
    use_account(sdk)
    sdk("admin", "delete_account")
    answer = tenant.call("GET", "/v1/account", key="read")
    assert answer.status_code in (401, 403)
    assert sdk.left == {"close"}
