"""The webhook pages, on the real gateway: registering, the secret shown once, tests,
the log, replay.
"""

import re
from html import unescape
from uuid import uuid4

import pytest

from audit.models import Entry, EntryDetail
from connections.webhooks.events import BY_NAME, GROUPS, OWN_GROUPS
from connections.webhooks.forms import WebhookForm
from gateway.models import Webhook, WebhookDelivery
from gateway.webhooks.events import KNOWN
from mirror.models import Connection, WebhookName
from tests.factories import make_connection
from tests.markup import text_of

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/in"
SECRET = re.compile(r'id="secret"[^>]*>([^<]+)<')
WANTED = {
    "name": "Billing",
    "url": URL,
    "events": ["oversight.pending", "message.sent"],
}


def recorded():
    return [
        one.action
        for one in Entry.objects.oldest_first()
        if one.action.startswith(("hook", "account"))
    ]


def register(client, account, **fields):
    """Post the form with a fresh ticket."""
    return client.post(
        f"/webhooks/{account.connection.pk}/add/",
        {**WANTED, "ticket": uuid4().hex, **fields},
    )


def path_of(account, hook, act=""):
    return f"/webhooks/{account.connection.pk}/{hook.pk}/{act}"


@pytest.fixture
def hook(account):
    return account.world.listen("oversight.pending", url=URL)


@pytest.fixture
def own_hook(account):
    """The desk's own webhook."""
    url = (
        f"https://desk.example.org/webhooks/multimail/{account.connection.webhook_id}/"
    )
    return account.world.listen("oversight.pending", url=url)


def sent_to(hook, state=WebhookDelivery.State.FAILED, **fields):
    values = {
        "event_id": "01EVENT",
        "event": "oversight.pending",
        "body": b"{}",
        "trace": "t",
        **fields,
    }
    return WebhookDelivery.objects.create(webhook=hook, state=state, **values)


def test_webhook_is_registered_and_its_secret_shown_once(signed_in, admin, account):
    client = signed_in(admin)
    opened = client.get(f"/webhooks/{account.connection.pk}/add/").content.decode()
    ticket = re.search(r'name="ticket" value="([^"]+)"', opened)[1]
    fields = {"mailbox": account.world.mailbox.pk, "ticket": ticket}
    answer = register(client, account, **fields)
    made = Webhook.objects.get()
    assert (answer.status_code, SECRET.search(answer.content.decode())[1]) == (
        200,
        made.secret,
    )
    assert (made.url, made.events, made.mailbox_id) == (
        URL,
        WANTED["events"],
        account.world.mailbox.pk,
    )
    assert not made.include_sandbox
    assert recorded() == ["account.change_asked", "hook.registered"]
    again = register(client, account, **fields)
    assert (
        again.status_code,
        Webhook.objects.count(),
        made.secret in again.content.decode(),
    ) == (409, 1, False)
    for path in ("/webhooks/", path_of(account, made)):
        assert made.secret not in client.get(path).content.decode()
    assert all(made.secret not in str(one.fields) for one in EntryDetail.objects.all())


def test_invalid_webhook_is_refused_with_a_sentence_and_without_its_secret(
    signed_in, admin, account
):
    for fields, words in (
        ({"url": "ftp://x.example"}, "begins with https://"),
        ({"url": "https://[x"}, "begins with https://"),
        ({"events": ["root.taken"]}, "no such event"),
        ({"secret": "short"}, "8 to 200"),
        ({"mailbox": "01ELSEWHERE"}, "not in this account"),
    ):
        found = WebhookForm(
            WANTED | fields, mailboxes=account.connection.mailboxes.there()
        ).errors_by_field()
        assert (list(found), words in "".join(found.values())) == (
            list(fields),
            True,
        ), fields
    client, secret = signed_in(admin), "my own good secret"
    answer = register(client, account, events=[], secret=secret)
    assert (answer.status_code, "Select at least one" in text_of(answer)) == (422, True)
    # A refusal by MultiMail is shown like a form error.
    refused = register(client, account, secret=secret, url="https://10.0.0.1/x")
    assert (refused.status_code, "private address" in text_of(refused)) == (422, True)
    assert [page for page in (answer, refused) if secret in page.content.decode()] == []
    assert not Webhook.objects.exists()
    register(client, account, secret=secret)
    assert Webhook.objects.get().secret == secret


def test_form_offers_every_name_and_shows_the_body_that_each_sends(
    signed_in, admin, account
):
    """Point 1: names of the pages can be chosen."""
    client, path = signed_in(admin), f"/webhooks/{account.connection.pk}/add/"
    page = client.get(path).content.decode()
    assert (
        set(re.findall(r'name="events" value="([^"]+)"', page))
        == BY_NAME.keys()
        == KNOWN
    )
    assert all(group in page for group in GROUPS | OWN_GROUPS)
    bodies = f"/webhooks/{account.connection.pk}/bodies/"
    asked = {
        "events": [
            "message.pending_approval",
            "email.received",
            "email.decided",
            "oversight.approved",
        ]
    }
    shown = unescape(client.get(bodies, asked).content.decode())
    for name in ("dana@northwind.example", "support@acme.example"):
        assert f'"to": "{name}"' in shown, (
            "text, also in the event that has a list where it is asked for alone"
        )
    assert "It is sent once, as email.decided." in shown
    # The input is preserved if something is wrong.
    again = register(client, account, url="", events=["email.decided"]).content.decode()
    assert re.search(r'value="email.decided"\s+checked', again)
    Connection.objects.update(is_our_gateway=False)
    assert "message.refused" not in client.get(path).content.decode()


def test_webhook_has_a_name_of_its_own_in_lists_confirmations_and_the_ledger(
    signed_in, admin, account
):
    client = signed_in(admin)
    nameless = register(client, account, name=" ")
    assert (
        nameless.status_code,
        "Give it a name" in text_of(nameless),
        Webhook.objects.count(),
    ) == (422, True, 0)
    assert f'value="{URL}"' in nameless.content.decode()
    register(client, account, name="Billing")
    made = Webhook.objects.get()
    for path in (
        "/webhooks/",
        path_of(account, made),
        path_of(account, made, "delete/"),
    ):
        assert "Billing" in text_of(client.get(path)), path
    assert "Delete Billing" in text_of(client.get(path_of(account, made, "delete/")))
    # MultiMail learns nothing of it.
    assert "Billing" not in str(vars(made))
    path = path_of(account, made, "name/")
    wrong = client.post(path, {"name": "x" * 81})
    assert (wrong.status_code, f'value="{"x" * 81}"' in wrong.content.decode()) == (
        422,
        True,
    )
    assert client.post(path, {"name": "<b>Shop</b>"}).status_code == 302
    assert "<b>Shop</b>" in text_of(client.get("/webhooks/"))
    renamed = Entry.objects.filter(action="hook.renamed").get().detail.fields
    assert (renamed["name"], renamed["before"], renamed["after"]) == (
        "<b>Shop</b>",
        "Billing",
        "<b>Shop</b>",
    )
    client.post(path_of(account, made, "test/"))
    assert (
        Entry.objects.filter(action="hook.tested").get().detail.fields["name"]
        == "<b>Shop</b>"
    )
    client.post(path_of(account, made, "delete/"))
    assert not WebhookName.objects.exists()


def test_webhook_that_nobody_named_is_called_by_its_receiver_or_mailbox(
    signed_in, admin, account, own_hook
):
    world = account.world
    # As the mirror has it.
    account.connection.mailboxes.update(address="support@acme.example")
    world.listen("message.pending_approval", url=URL)
    world.listen("email.decided", url=URL + "/2")
    limited = world.listen("message.sent", url=URL + "/3")
    Webhook.objects.filter(pk=limited.pk).update(mailbox=world.mailbox)
    world.listen("message.sent", url=URL + "/4")
    page = signed_in(admin).get("/webhooks/").content.decode()
    labels = [
        re.sub("<[^>]+>", "", one)
        for one in re.findall(r'who-at"\s*><b>(.*?)</b>', page, re.DOTALL)
    ]
    assert labels == [
        "This desk",
        "Discord bot",
        "Inngest",
        "Unnamed webhook",
        "Webhook of support@acme.example",
    ]


@pytest.mark.slow
def test_lost_response_to_a_registration_says_how_to_check(signed_in, admin, account):
    account.gateway.lost.add(("POST", "/webhooks"))
    answer = register(signed_in(admin), account)
    assert (
        answer.status_code,
        account.asked("POST", "/webhooks"),
        Webhook.objects.count(),
    ) == (502, 1, 1)
    assert "its secret was lost" in text_of(answer)
    assert recorded() == ["account.change_asked", "hook.change_failed"]


@pytest.mark.slow
def test_log_shows_status_attempts_and_response_and_a_finished_delivery_can_be_resent(
    signed_in, admin, account, hook
):
    failed = sent_to(
        hook, attempts=4, response_status=503, last_error="It answered 503."
    )
    on_its_way = sent_to(
        hook, WebhookDelivery.State.DUE, event_id="01OTHER", event="message.sent"
    )
    client = signed_in(admin)
    answer = client.get(path_of(account, hook))
    page = text_of(answer)
    for words in ("4 attempts Answer 503", "It answered 503.", "Failed", "Pending"):
        assert words in page, words
    # An unfinished delivery cannot be resent.
    assert answer.content.decode().count("/replay/") == 1
    refused = client.post(path_of(account, hook, f"sent/{on_its_way.pk}/replay/"))
    assert (refused.status_code, "is not finished" in text_of(refused)) == (422, True)
    assert (
        client.post(path_of(account, hook, f"sent/{failed.pk}/replay/")).status_code
        == 302
    )
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == (WebhookDelivery.State.DUE, 0)
    assert recorded()[-2:] == ["account.change_asked", "hook.replayed"]


def test_new_secret_is_shown_once_and_the_old_one_stays_valid(
    signed_in, admin, account, hook, own_hook
):
    client = signed_in(admin)
    fields = {"overlap": "3600", "ticket": uuid4().hex}
    answer = client.post(path_of(account, hook, "rotate/"), fields)
    hook.refresh_from_db()
    assert (answer.status_code, SECRET.search(answer.content.decode())[1]) == (
        200,
        hook.secret,
    )
    assert (hook.previous_secret, hook.secret != "whsec_geheim") == (
        "whsec_geheim",
        True,
    )
    once, again = hook.secret, client.post(path_of(account, hook, "rotate/"), fields)
    hook.refresh_from_db()
    assert (again.status_code, hook.secret) == (409, once)
    # The secret of the desk's own webhook is not changed here.
    answer = client.post(
        path_of(account, own_hook, "rotate/"), fields | {"ticket": uuid4().hex}
    )
    own_hook.refresh_from_db()
    assert (answer.status_code, own_hook.secret) == (422, "whsec_geheim")
    assert "rotate/" not in answer.content.decode()


def test_webhooks_are_listed_and_deleted_and_the_desks_own_only_after_a_warning(
    signed_in, admin, account, hook, own_hook
):
    make_connection("other")
    client = signed_in(admin)
    other, _, page = text_of(client.get("/webhooks/")).partition("Gateway served")
    assert (URL in page, "oversight.pending" in page, page.count("This desk")) == (
        True,
        True,
        1,
    )
    assert "whsec_geheim" not in page
    assert "has no admin key" in other
    # Although the response was lost: a read finds out.
    account.gateway.lost.add(("DELETE", f"/webhooks/{hook.pk}"))
    assert client.post(path_of(account, hook, "delete/")).status_code == 302
    assert recorded()[-1] == "hook.deleted"
    assert "This desk uses it" in text_of(
        client.get(path_of(account, own_hook, "delete/"))
    )
    assert client.post(path_of(account, own_hook, "delete/")).status_code == 422
    assert list(Webhook.objects.filter(deleted_at=None)) == [own_hook]
    assert (
        client.post(
            path_of(account, own_hook, "delete/"), {"understood": "1"}
        ).status_code
        == 302
    )
    assert not Webhook.objects.filter(deleted_at=None).exists()


@pytest.mark.slow
def test_unsupported_action_or_empty_list_is_explained_and_the_page_still_renders(
    signed_in, admin, account, hook
):
    client, spoiled = signed_in(admin), account.gateway.spoiled
    for act in ("test", "rotate"):
        spoiled[("POST", f"/{act}")] = (
            404,
            b'{"error": "There is nothing at this path."}',
        )
        answer = client.post(
            path_of(account, hook, f"{act}/"), {"overlap": "0", "ticket": uuid4().hex}
        )
        assert (answer.status_code, "does not offer it" in text_of(answer), URL in text_of(answer)) == (
            422, True, True,
        )  # fmt: skip
    spoiled[("GET", "/webhook-deliveries")] = (403, b'{"error": "Not today."}')
    page = client.get(path_of(account, hook))
    assert (
        page.status_code,
        "The log could not be read" in text_of(page),
        URL in text_of(page),
    ) == (200, True, True)
    spoiled[("GET", "/webhooks")] = (500, b'{"error": "Not today."}')
    page = client.get("/webhooks/")
    assert (page.status_code, "could not be read" in text_of(page)) == (200, True)
