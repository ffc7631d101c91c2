"""MultiMail's own Python SDK, unchanged, through all its methods."""

import asyncio
import base64
import contextlib
import json

import httpx
import pytest
from multimail import AsyncMultiMail, MultiMail

from tests.conformance.tool_table import use_tools

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


BEFORE_IT_LEAVES = """
list_pending       oversight  {}                               all is []
list_webhooks      admin      {}                               all is []
send_email         agent      {"*": ["$box"], "to": ["dana@northwind.example"], "attachments": [$file], $more}
  id as email    status is pending_scan
get_email          agent      {"*": ["$box", "$email"]}        text_body is Hello
list_emails        agent      {"*": ["$box"]}                  emails.0.id is $email
list_emails        agent      {"*": ["$box"], "direction": "inbound"}         emails is []
list_emails        agent      {"*": ["$box"], "limit": 1, "offset": 1}        emails is []
set_tags           agent      {"*": ["$box", "$email", {"order": "4471", "a/b": "c"}]}    tags.a/b is c
delete_tag         agent      {"*": ["$box", "$email", "a/b"]}
get_tags           agent      {"*": ["$box", "$email"]}        tags is {'order': '4471'}
list_pending       oversight  {}                               0.id is $email
decide             oversight  {"*": ["$email", "approve"], "reason": "looks right"}
  status is approved_and_sent    reason is looks right
list_pending       oversight  {}                               all is []
"""
AFTERWARDS = """
add_contact        agent      {"*": ["dana@northwind.example", "Dana Fox"], "tags": ["vip"]}    id as contact
list_contacts      read       {"q": "dana fox"}                0.id is $contact
delete_contact     admin      {"*": ["$contact"]}
list_contacts      read       {}                               all is []
create_api_key     admin      {"*": ["A key"]}                 id as key    scopes is ['read']
list_api_keys      admin      {}                               0.id as some
revoke_api_key     admin      {"*": ["$key"]}
create_webhook     admin      {"*": ["$hooks/sdk", ["oversight.pending"]], "secret": "geheimnis"}
  id as hook    signing_secret is geheimnis
list_webhooks      admin      {}                               0.id is $hook
delete_webhook     admin      {"*": ["$hook"]}
list_webhooks      admin      {}                               all is []
create_mailbox     admin      {"*": ["second@$domain", "Second"], "oversight_mode": "gated_all"}
  id as second    address is second@$domain    oversight_mode is gated_all
update_mailbox     admin      {"*": ["$second"], "display_name": "The second"}
list_mailboxes     read       {}                               1.display_name is The second
delete_mailbox     admin      {"*": ["$second"]}
list_mailboxes     read       {}                               0.id is $box
add_domain         admin      {"*": ["more.$domain"]}          id as claimed    status is pending
verify_domain      admin      {"*": ["$claimed"]}              status is pending
list_domains       admin      {}                               0.id as some
delete_domain      admin      {"*": ["$claimed"]}
list_suppressions  admin      {}                               0.email_address is $gone
remove_suppression  admin     {"*": ["$gone"]}
list_suppressions  admin      {}                               all is []
reply_email        agent      {"*": ["$box", "$received"], "markdown": "On its way"}    id as reply
get_thread         agent      {"*": ["$box", "$thread"]}       emails.0.id is $received    emails.1.id is $reply
cancel_email       agent      {"*": ["$box", "$reply"]}        status is cancelled
update_account     admin      {"name": "A new name"}
get_account        read       {}                               name is A new name
get_usage          read       {}                               emails_sent as some
get_audit_log      admin      {"limit": 2}                     1.id as some
delete_account     admin      {}
"""


def test_every_method_of_the_sdk_does_what_it_says(sdk, tenant):
    file = {"name": "a b.bin", "content_base64": base64.b64encode(FILE).decode()}
    more = {
        "cc": ["cee@northwind.example"],
        "bcc": ["bea@northwind.example"],
        "subject": "With everything",
        "markdown": "Hello",
        "idempotency_key": "first",
    }
    known = {
        "box": tenant.mailbox,
        "domain": tenant.address.partition("@")[2],
        "file": json.dumps(file),
        "more": json.dumps(more).strip("{}"),
        "hooks": tenant.gateway.hooks.url,
        "gone": f"gone+{tenant.mailbox.lower()}@northwind.example",
    }

    def use(method, key, arguments):
        return sdk(key, method, *arguments.pop("*", []), **arguments), False

    use_tools(BEFORE_IT_LEAVES, known, use)
    box, email_id = known["box"], known["email"]
    assert sdk("agent", "download_attachment", box, email_id, "a b.bin") == FILE
    assert tenant.wait_for_mails("With everything")
    received = tenant.receive()
    known |= {"received": received["id"], "thread": received["thread_id"]}
    tenant.gateway.mail.refuse[known["gone"]] = "550 no such user"
    tenant.decide(tenant.send(to=[known["gone"]])["id"], "approve")
    tenant.wait(lambda: tenant.get("/v1/suppression")["suppressions"])
    use_tools(AFTERWARDS, known, use)
    answer = tenant.call("GET", "/v1/account", key="read")
    assert answer.status_code in (401, 403)
    assert sdk.left == {"close"}
