"""The pages of connections: adding, keys, webhook, pause and removal; permissions, and
hidden secrets.
"""

import re

import pytest
from django.core.cache import cache
from django.urls import reverse

from mirror.models import Connection
from tests.account import account
from tests.factories import make_connection
from tests.markup import leads_to, says

KEYS = {
    "oversight_key": "mm_live_oversight_key",
    "read_key": "mm_live_read_key",
    "admin_key": "mm_live_admin_key",
    "agent_key": "mm_live_agent_key",
}
NEW = {"place": "ours", "name": "Acme support", **KEYS}


SCOPES = {
    "oversight": ["oversight"],
    "read": ["read"],
    "admin": ["admin", "read"],
    "agent": ["read", "send"],
}


@pytest.fixture
def there(settings):
    with account(**SCOPES, mighty=["oversight", "send"]) as standin:
        settings.MULTIMAIL_API_URL = standin.url
        yield standin


def add(client, **fields):
    return client.post(reverse("add-connection"), {**NEW, **fields})


def to(name, connection, **more):
    return reverse(name, kwargs={"connection_id": connection.pk, **more})


# --- adding


def test_accepted_connection_is_added_once_and_its_page_lists_the_rights_of_each_key(
    signed_in, admin, there
):
    client = signed_in(admin)
    answer = add(client)
    made = Connection.objects.get()
    assert leads_to(answer) == to("connection", made)
    assert made.api_url == there.url
    assert made.is_our_gateway is True
    assert made.key_scopes == SCOPES
    page = client.get(answer["Location"])
    says(page, 200, "admin read", made.webhook_id)
    assert [
        secret
        for secret in (*KEYS.values(), made.webhook_secret)
        if secret in page.text
    ] == []
    says(add(client, name="The same again"), 422, "connected already, as Acme support")
    # The rules for its mailboxes do not hold for another copy of its messages.
    Connection.objects.update(api_url=there.url.replace("://", "://mail."))
    says(add(client, name="The same again"), 422, "connected already, as Acme support")
    assert Connection.objects.count() == 1


def test_invalid_connection_is_not_saved_and_the_form_preserves_all_but_the_keys(
    signed_in, admin, there
):
    client = signed_in(admin)
    wrong = {"oversight_key": "mm_live_of_nobody", "place": "other"}
    answer = add(client, **wrong, address=there.url)
    kept = (there.url, 'value="Acme support"')
    says(answer, 422, "does not accept this key", *kept)
    assert re.search(r'name="oversight_key"[^>]*aria-invalid', answer.text)
    assert "mm_live" not in answer.text
    # Nobody answers there, which is wrong with the address and with no key.
    answer = add(client, place="other", address="http://127.0.0.1:1")
    says(answer, 422, "could not be reached")
    assert re.search(r'name="address"[^>]*aria-invalid', answer.text)
    assert not re.search(r'name="\w+_key"[^>]*aria-invalid', answer.text)
    assert not Connection.objects.exists()


def ticket_in(answer):
    """The ticket under which the secrets of a form were saved."""
    return re.search(r'name="secrets" value="(\w+)"', answer.text)[1]


def test_keys_typed_before_an_error_need_not_be_typed_again(
    signed_in, admin, second, there
):
    client = signed_in(admin)
    wrong = {"oversight_key": "mm_live_of_nobody"}
    first = add(client, **wrong)
    assert "mm_live" not in first.text
    saved = cache.get(f"secrets:{admin.pk}:{ticket_in(first)}")
    assert saved
    assert "mm_live" not in saved
    typed = dict.fromkeys(KEYS, "")
    # The key that is wrong was not saved, and the others are not anybody else's.
    says(add(client, **typed, secrets=ticket_in(first)), 422, "Enter the key.")
    right = {**typed, "oversight_key": KEYS["oversight_key"]}
    answer = add(client, **right, place="other", address="http://127.0.0.1:1", secrets=ticket_in(first))  # fmt: skip
    says(add(signed_in(second), **typed, secrets=ticket_in(answer)), 422, "Enter the key.")  # fmt: skip
    client = signed_in(admin)
    leads_to(add(client, **typed, secrets=ticket_in(answer)))
    made = Connection.objects.get()
    assert {name: getattr(made, name) for name in KEYS} == KEYS


# --- keys


def test_key_is_no_error_if_the_host_does_not_answer_and_is_saved(
    signed_in, admin, there
):
    found = make_connection(api_url="http://127.0.0.1:1")
    client = signed_in(admin)
    path = to("connection-key", found, slot="read")
    answer = client.post(path, {"key": "mm_live_read_key"})
    says(answer, 422, "could not be reached")
    assert not re.search(r'name="key"[^>]*aria-invalid', answer.text)
    Connection.objects.update(api_url=there.url)
    leads_to(client.post(path, {"key": "", "secrets": ticket_in(answer)}))
    assert Connection.objects.get().read_key == "mm_live_read_key"


def test_key_is_stored_once_multimail_confirms_it(signed_in, admin, there):
    found = make_connection(api_url=there.url)
    client = signed_in(admin)
    path = to("connection-key", found, slot="read")
    wrong = client.post(path, {"key": "mm_live_oversight_key"})
    says(wrong, 422, "an oversight key")
    assert "mm_live_oversight_key" not in wrong.text
    assert client.post(path, {"key": "mm_live_read_key"}).status_code == 302
    assert Connection.objects.get().read_key == "mm_live_read_key"
    assert client.post(path, {"do": "remove"}).status_code == 302
    assert Connection.objects.get().read_key == ""
    nowhere = to("connection-key", found, slot="other")
    assert client.post(nowhere, {"key": "mm_live_x_key"}).status_code == 404


# --- webhook


# --- removal
