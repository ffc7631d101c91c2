"""The webhook pages, on the real gateway: registering, the secret shown once, tests,
the log, replay.
"""

import re
from uuid import uuid4

import pytest

from audit.models import Entry, EntryDetail
from connections.webhooks.views import WebhookForm
from gateway.models import Webhook
from tests.markup import says

URL = "https://hooks.example.org/in"
SECRET = re.compile(r'class="secret"[^>]*>([^<]+)<')
WANTED = {"url": URL, "events": ["oversight.pending", "message.sent"]}


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


def test_webhook_is_registered_and_its_secret_shown_once(signed_in, admin, account):
    client = signed_in(admin)
    opened = client.get(f"/webhooks/{account.connection.pk}/add/").text
    ticket = re.search(r'name="ticket" value="([^"]+)"', opened)[1]
    fields = {"mailbox": account.world.mailbox.pk, "ticket": ticket}
    answer = register(client, account, **fields)
    made = Webhook.objects.get()
    assert SECRET.search(answer.text)[1] == made.secret
    assert made.events == WANTED["events"]
    assert made.mailbox_id == account.world.mailbox.pk
    assert recorded() == ["account.change_asked", "hook.registered"]
    again = register(client, account, **fields)
    assert again.status_code == 409
    assert Webhook.objects.count() == 1
    pages = [client.get(path) for path in ("/webhooks/", path_of(account, made))]
    assert [page for page in (again, *pages) if made.secret in page.text] == []
    assert all(made.secret not in str(one.fields) for one in EntryDetail.objects.all())


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
    assert client.post(path, fields).status_code == 409
    # The secret of the desk's own webhook is not changed here.
    fields["ticket"] = uuid4().hex
    answer = client.post(path_of(account, own_hook, "rotate/"), fields)
    own_hook.refresh_from_db()
    assert answer.status_code == 422
    assert own_hook.secret == "whsec_geheim"


@pytest.mark.slow
def test_invalid_webhook_is_refused_with_a_sentence_and_without_its_secret(
    signed_in, admin, account
):
    there = account.connection.mailboxes.active()
    mailboxes = there.values_list("upstream_id", "address")
    for name, value in (
        ("url", "https://[x"),
        ("events", ["root.taken"]),
        ("secret", "short"),
        ("mailbox", "01ELSEWHERE"),
    ):
        form = WebhookForm({**WANTED, name: value}, choices={"mailbox": mailboxes})
        assert form.errors.keys() == {name}, value
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
