"""The pages of connections: adding, keys, webhook, pause and removal; permissions, and
hidden secrets.
"""

import re

import pytest
from django.urls import reverse

from connections.accounts.keys import check_all
from connections.accounts.views import AddConnectionForm
from mirror.models import Connection
from tests.account import account
from tests.factories import make_connection, make_message
from tests.markup import leads_to, says, text_of

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


def problems_of(**fields):
    """The errors of a new connection by field, as on its page."""
    form = AddConnectionForm({**NEW, **fields})
    if not form.is_valid():
        return form.errors_by_field()
    checks = check_all(
        api_url=form.cleaned_data["api_url"], keys=form.keys_of(form.cleaned_data)
    )
    return {
        f"{slot}_key": check.problem for slot, check in checks.items() if check.problem
    }


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


def test_invalid_connection_shows_the_reason_at_its_field(there):
    elsewhere = {"place": "other", "address": ""}
    wrong = []
    for fields, field, words in (
        ({"oversight_key": "mm_live_mighty_key"}, "oversight_key", "may also send"),
        ({"oversight_key": "two words"}, "oversight_key", "not a complete key"),
        (
            {"read_key": "mm_live_admin_key"},
            "__all__",
            "The same key was entered twice",
        ),
        (elsewhere, "address", "Enter an address"),
        ({**elsewhere, "address": "https://evil.example"}, "address", "OUTGOING_ALLOW"),
    ):
        found = problems_of(**fields)
        if words not in found.get(field, ""):
            wrong.append((fields, found))
    assert wrong == []


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


@pytest.mark.slow
def test_key_of_another_account_is_refused(signed_in, admin, there):
    there.foreign = {"mm_live_admin_key"}
    assert "of another account" in problems_of()["admin_key"]
    client = signed_in(admin)
    add(client, admin_key="")
    path = to("connection-key", Connection.objects.get(), slot="admin")
    assert client.post(path, {"key": "mm_live_admin_key"}).status_code == 422
    assert Connection.objects.get().admin_key == ""


# --- keys


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


def test_refused_change_shows_its_error_and_what_was_typed_in_its_own_form(
    signed_in, admin, connection
):
    other = make_connection("taken", name="Taken")
    client = signed_in(admin)
    answer = client.post(to("rename-connection", connection), {"name": other.name})
    says(answer, 422, 'value="Taken"', 'id="name-name_error"', "Choose another name")
    assert 'id="pause-reason_error"' not in answer.text
    path = to("connection-key", connection, slot="oversight")
    answer = client.post(path, {"do": "remove"})
    says(answer, 422, 'id="key_oversight-key_error"', "Nothing works without")
    assert "Enter the key." not in answer.text


# --- webhook


@pytest.mark.slow
def test_secret_of_a_webhook_that_was_registered_by_hand_is_entered_and_never_shown(
    signed_in, admin, connection
):
    client = signed_in(admin)
    path = to("take-secret", connection)
    assert client.post(path, {"overlap": "day", "secret": ""}).status_code == 422
    form = {"overlap": "day", "secret": "whsec_first_one"}
    assert client.post(path, form).status_code == 302
    page = client.get(to("connection", connection))
    assert "whsec_first_one" not in page.text
    assert client.post(to("end-old-secret", connection)).status_code == 302
    pasted = {"overlap": "none", "secret": "whsec_pasted_here"}
    assert client.post(path, pasted).status_code == 302
    assert Connection.objects.get().webhook_secret == "whsec_pasted_here"


# --- removal


@pytest.mark.slow
def test_removal_explains_itself_needs_the_name_and_leaves_the_history(
    signed_in, admin, there
):
    found = make_connection(
        api_url=there.url, admin_key=KEYS["admin_key"], upstream_webhook_id="hook1"
    )
    there.hooks["hook1"] = {"id": "hook1", "url": "u", "secret": "s"}
    make_message(found, subject="Remember me")
    client = signed_in(admin)
    path = to("remove-connection", found)
    assert "1 message leaves the queue" in text_of(client.get(path))
    assert client.post(path, {"name": found.name}).status_code == 302
    assert there.hooks == {}
    assert client.get(to("connection", found)).status_code == 404
    assert "Remember me" in client.get(reverse("history")).text
    assert "Remember me" not in client.get(reverse("queue")).text
