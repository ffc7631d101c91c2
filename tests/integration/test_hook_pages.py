"""The webhook pages, on the real gateway: registering, the secret shown once, tests,
the log, replay.
"""

import re
from uuid import uuid4

import pytest

from audit.models import Entry, EntryDetail
from connections.webhooks.events import GROUPS, OWN_GROUPS, USED_BY
from connections.webhooks.views import WebhookForm
from gateway.models import Webhook, WebhookDelivery
from gateway.webhooks.events import KNOWN
from mirror.models import Connection, WebhookName
from tests.factories import make_connection
from tests.ledger import latest_details
from tests.markup import says, text_of

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
    fields = {"event_id": "01EVENT", "event": "oversight.pending", **fields}
    return WebhookDelivery.objects.create(
        webhook=hook, state=state, body=b"{}", trace="t", **fields
    )


def test_webhook_is_registered_and_its_secret_shown_once(signed_in, admin, account):
    client = signed_in(admin)
    opened = client.get(f"/webhooks/{account.connection.pk}/add/").text
    ticket = re.search(r'name="ticket" value="([^"]+)"', opened)[1]
    fields = {"mailbox": account.world.mailbox.pk, "ticket": ticket}
    answer = register(client, account, **fields)
    made = Webhook.objects.get()
    assert SECRET.search(answer.text)[1] == made.secret
    assert made.url == URL
    assert made.events == WANTED["events"]
    assert made.mailbox_id == account.world.mailbox.pk
    assert not made.include_sandbox
    assert recorded() == ["account.change_asked", "hook.registered"]
    again = register(client, account, **fields)
    assert again.status_code == 409
    assert Webhook.objects.count() == 1
    pages = [client.get(path) for path in ("/webhooks/", path_of(account, made))]
    assert [page for page in (again, *pages) if made.secret in page.text] == []
    assert all(made.secret not in str(one.fields) for one in EntryDetail.objects.all())


def test_invalid_webhook_is_refused_with_a_sentence_and_without_its_secret(
    signed_in, admin, account
):
    there = account.connection.mailboxes.there()
    mailboxes = there.values_list("upstream_id", "address")
    for name, value, words in (
        ("url", "ftp://x.example", "begins with https://"),
        ("url", "https://[x", "begins with https://"),
        ("events", ["root.taken"], "no such event"),
        ("secret", "short", "8 to 200"),
        ("mailbox", "01ELSEWHERE", "not in this account"),
    ):
        form = WebhookForm({**WANTED, name: value}, choices={"mailbox": mailboxes})
        ((field, error),) = form.errors_by_field().items()
        assert field == name, error
        assert words in error, error
    client = signed_in(admin)
    secret = "my own good secret"
    answer = register(client, account, events=[], secret=secret)
    says(answer, 422, "Select at least one")
    # A refusal by MultiMail is shown like a form error.
    refused = register(client, account, secret=secret, url="https://10.0.0.1/x")
    says(refused, 422, "private address")
    assert [page for page in (answer, refused) if secret in page.text] == []
    assert not Webhook.objects.exists()
    register(client, account, secret=secret)
    assert Webhook.objects.get().secret == secret


def test_form_offers_every_name_and_keeps_what_is_ticked(signed_in, admin, account):
    """Point 1: names of the pages can be chosen."""
    client = signed_in(admin)
    path = f"/webhooks/{account.connection.pk}/add/"
    page = client.get(path).text
    offered = set(re.findall(r'name="events" value="([^"]+)"', page))
    assert offered == USED_BY.keys() == KNOWN
    assert all(group in page for group in GROUPS | OWN_GROUPS)
    # The input is preserved if something is wrong.
    again = register(client, account, url="", events=["email.decided"]).text
    assert re.search(r'value="email.decided"\s+checked', again)
    Connection.objects.update(is_our_gateway=False)
    assert "message.refused" not in client.get(path).text


def test_webhook_has_a_name_of_its_own_in_lists_confirmations_and_the_ledger(
    signed_in, admin, account
):
    client = signed_in(admin)
    kept = f'value="{URL}"'
    says(register(client, account, name=" "), 422, "Give it a name", kept)
    assert not Webhook.objects.exists()
    register(client, account, name="Billing")
    made = Webhook.objects.get()
    says(client.get("/webhooks/"), 200, "Billing")
    says(client.get(path_of(account, made)), 200, "Billing")
    says(client.get(path_of(account, made, "delete/")), 200, "Delete Billing")
    # MultiMail learns nothing of it.
    assert "Billing" not in str(vars(made))
    path = path_of(account, made, "name/")
    says(client.post(path, {"name": "x" * 81}), 422, f'value="{"x" * 81}"')
    name = "<b>Shop</b>"
    assert client.post(path, {"name": name}).status_code == 302
    assert name in text_of(client.get("/webhooks/"))
    renamed = latest_details("hook.renamed")
    assert renamed["name"] == renamed["after"] == name
    assert renamed["before"] == "Billing"
    client.post(path_of(account, made, "test/"))
    assert latest_details("hook.tested")["name"] == name
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
    page = signed_in(admin).get("/webhooks/").text
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
    says(answer, 502, "its secret was lost")
    assert account.asked("POST", "/webhooks") == Webhook.objects.count() == 1
    assert recorded() == ["account.change_asked", "hook.change_failed"]


@pytest.mark.slow
def test_log_shows_status_attempts_and_response_and_a_finished_delivery_can_be_resent(
    signed_in, admin, account, hook
):
    words = "It answered 503."
    failed = sent_to(hook, attempts=4, response_status=503, last_error=words)
    due = WebhookDelivery.State.DUE
    on_its_way = sent_to(hook, due, event_id="01OTHER", event="message.sent")
    client = signed_in(admin)
    page = client.get(path_of(account, hook))
    says(page, 200, "4 attempts Answer 503", words, "Failed", "Pending")
    # An unfinished delivery cannot be resent.
    assert page.text.count("/replay/") == 1
    unfinished = client.post(path_of(account, hook, f"sent/{on_its_way.pk}/replay/"))
    says(unfinished, 422, "is not finished")
    path = path_of(account, hook, f"sent/{failed.pk}/replay/")
    assert client.post(path).status_code == 302
    failed.refresh_from_db()
    assert failed.state == due
    assert failed.attempts == 0
    assert recorded()[-2:] == ["account.change_asked", "hook.replayed"]


def test_new_secret_is_shown_once_and_the_old_one_stays_valid(
    signed_in, admin, account, hook, own_hook
):
    client = signed_in(admin)
    path = path_of(account, hook, "rotate/")
    fields = {"overlap": "3600", "ticket": uuid4().hex}
    answer = client.post(path, fields)
    hook.refresh_from_db()
    assert SECRET.search(answer.text)[1] == hook.secret != "whsec_geheim"
    assert hook.previous_secret == "whsec_geheim"
    once = hook.secret
    again = client.post(path, fields)
    hook.refresh_from_db()
    assert again.status_code == 409
    assert hook.secret == once
    # The secret of the desk's own webhook is not changed here.
    fields["ticket"] = uuid4().hex
    answer = client.post(path_of(account, own_hook, "rotate/"), fields)
    own_hook.refresh_from_db()
    assert answer.status_code == 422
    assert own_hook.secret == "whsec_geheim"
    assert "rotate/" not in answer.text


def test_webhooks_are_listed_and_deleted_and_the_desks_own_only_after_a_warning(
    signed_in, admin, account, hook, own_hook
):
    make_connection("other")
    client = signed_in(admin)
    other, _, page = text_of(client.get("/webhooks/")).partition("Gateway served")
    assert URL in page
    assert "oversight.pending" in page
    assert page.count("This desk") == 1
    assert "whsec_geheim" not in page
    assert "has no admin key" in other
    # Although the response was lost: a read finds out.
    account.gateway.lost.add(("DELETE", f"/webhooks/{hook.pk}"))
    assert client.post(path_of(account, hook, "delete/")).status_code == 302
    assert recorded()[-1] == "hook.deleted"
    path = path_of(account, own_hook, "delete/")
    says(client.get(path), 200, "This desk uses it")
    assert client.post(path).status_code == 422
    assert list(Webhook.objects.filter(deleted_at=None)) == [own_hook]
    assert client.post(path, {"understood": "1"}).status_code == 302
    assert not Webhook.objects.filter(deleted_at=None).exists()


@pytest.mark.slow
def test_unsupported_action_or_empty_list_is_explained_and_the_page_still_renders(
    signed_in, admin, account, hook
):
    client = signed_in(admin)
    spoiled = account.gateway.spoiled
    for act in ("test", "rotate"):
        spoiled[("POST", f"/{act}")] = 404, b'{"error": "There is nothing."}'
        form = {"overlap": "0", "ticket": uuid4().hex}
        answer = client.post(path_of(account, hook, f"{act}/"), form)
        says(answer, 422, "does not offer it", URL)
    spoiled[("GET", "/webhook-deliveries")] = 403, b'{"error": "Not today."}'
    says(client.get(path_of(account, hook)), 200, "The log could not be read", URL)
    spoiled[("GET", "/webhooks")] = 500, b'{"error": "Not today."}'
    says(client.get("/webhooks/"), 200, "could not be read")
