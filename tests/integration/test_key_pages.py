"""The API key pages, on the real gateway: listing, creating a key shown once, limiting,
owners, revoking.
"""

import re
from uuid import uuid4

import pytest

from audit.models import Entry, EntryDetail
from connections.changes import ChangeRefused
from connections.keys.commands import read_key, revoke_key
from gateway.models import ApiKey
from policy.models import KeyOwner
from tests.factories import actor_of
from tests.markup import says

SECRET = re.compile(r'class="secret"[^>]*>(mm_live_[0-9a-f]{40})<')
WANTED = {"name": "Support bot", "scopes": ["read", "send"]}


def recorded():
    return [
        one.action
        for one in Entry.objects.oldest_first()
        if one.action.startswith(("api_key", "account"))
    ]


def make(client, account, **fields):
    """Post the form with a fresh ticket."""
    return client.post(
        f"/keys/{account.connection.pk}/add/",
        {**WANTED, "ticket": uuid4().hex, **fields},
    )


def path_of(account, key, act=""):
    return f"/keys/{account.connection.pk}/{key.pk}/{act}"


@pytest.fixture
def agent(account):
    return ApiKey.objects.get(name="Key agent")


@pytest.fixture
def here(account, admin):
    """The connection and the actor of a command."""
    return {"connection": account.connection, "actor": actor_of(admin)}


def test_key_is_shown_once_stored_nowhere_and_works_within_its_scopes(
    signed_in, admin, account, caplog
):
    caplog.set_level("DEBUG")
    client = signed_in(admin)
    opened = client.get(f"/keys/{account.connection.pk}/add/").text
    ticked = re.findall(r'value="(\w+)"[^>]* checked', opened)
    assert ticked == ["read", "send", "oversight_read"]
    box = account.world.mailbox.pk
    fields = {
        "mailboxes": [box],
        "owner": str(admin.pk),
        "scopes": ["read"],
        "ticket": re.search(r'name="ticket" value="([^"]+)"', opened)[1],
    }
    answer = make(client, account, **fields)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    text = SECRET.search(answer.text)[1]
    made = ApiKey.objects.get(name="Support bot")
    assert made.scopes == ["read"]
    assert made.mailbox_ids == [box]
    assert KeyOwner.objects.get(upstream_key_id=made.pk).person == admin
    # Reloading sends the same form again: no second key, and the key is not shown.
    again = make(client, account, **fields)
    assert again.status_code == 409
    assert text not in again.text
    assert ApiKey.objects.filter(name="Support bot").count() == 1
    assert text not in client.get(path_of(account, made)).text
    stored = [*EntryDetail.objects.values_list("fields", flat=True)]
    assert text not in f"{stored} {dict(client.session)}"
    assert caplog.records
    assert all(text not in str(vars(record)) for record in caplog.records)
    account.world.keys["new"] = text
    assert account.ask("GET", "/v1/mailboxes", key="new").status_code == 200
    assert account.ask("GET", "/v1/api-keys", key="new").status_code == 403


@pytest.mark.slow
def test_revoking_names_the_effects_and_works_even_if_the_response_was_lost(
    signed_in, admin, account, agent, here
):
    client = signed_in(admin)
    key = ApiKey.objects.get(name="Key desk")
    path = path_of(account, key, "revoke/")
    says(client.get(path), 200, "no decision is carried out")
    assert client.post(path).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    account.gateway.lost.add(("DELETE", f"/api-keys/{agent.pk}"))
    revoke_key(**here, key=read_key(**here, key_id=agent.pk))
    assert recorded()[-1] == "api_key.revoked"
    last = ApiKey.objects.get(name="Key admin")
    with pytest.raises(ChangeRefused, match="last key that can administer"):
        revoke_key(**here, key=read_key(**here, key_id=last.pk))
