"""The API key pages, on the real gateway: listing, creating a key shown once, limiting,
owners, revoking.
"""

import re
from uuid import uuid4

import pytest

from audit.models import Entry, EntryDetail
from connections.changes import ChangeRefused
from connections.keys.commands import (
    pause_key,
    read_key,
    revoke_key,
    set_owner,
)
from connections.keys.views import NewKeyForm
from gateway.models import ApiKey, ApprovalRequest
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


@pytest.mark.slow
def test_keys_are_listed_with_scopes_and_owners(
    signed_in, admin, reviewer, account, agent, here
):
    hostile = "<script>x</script>\u202etxt.exe"
    ApiKey.objects.filter(name="Key reader").update(name=hostile)
    client = signed_in(admin)
    owner = {"owner": str(reviewer.pk)}
    assert client.post(path_of(account, agent, "owner/"), owner).status_code == 302
    assert KeyOwner.objects.get().person == reviewer
    answer = client.get("/keys/")
    own = "This desk's oversight key"
    says(answer, 200, "Key agent", "send", "Ana Ferreira", "Never used", own)
    for hidden in (account.world.keys["agent"], "<script>x", "\u202e"):
        assert hidden not in answer.text, hidden
    set_owner(**here, key_id=agent.pk, name="Key agent", person=None)
    assert not KeyOwner.objects.exists()


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
def test_invalid_key_is_refused_at_its_field_without_a_call(signed_in, admin, account):
    there = account.connection.mailboxes.active()
    mailboxes = there.values_list("upstream_id", "address")
    for name, value, words in (
        ("scopes", [], "Select at least one"),
        ("scopes", ["root"], "no such scope"),
        ("mailboxes", ["01ELSEWHERE"], "not in this account"),
        ("owner", "999999", "Choose a person at this desk"),
    ):
        form = NewKeyForm({**WANTED, name: value}, choices={"mailboxes": mailboxes})
        ((field, error),) = form.errors_by_field().items()
        assert field == name, error
        assert words in error, error
    client = signed_in(admin)
    answer = make(client, account, scopes=["send", "oversight"])
    says(answer, 422, "approve its own mail")
    # A form without its ticket may be a repetition.
    assert make(client, account, ticket="").status_code == 409
    assert account.asked("POST", "/api-keys") == 0


@pytest.mark.slow
def test_key_whose_response_was_lost_is_named_and_not_created_twice(
    signed_in, admin, account
):
    account.gateway.lost.add(("POST", "/api-keys"))
    answer = make(signed_in(admin), account)
    says(answer, 502, "if a key named Support bot is new there, its text was lost")
    assert account.asked("POST", "/api-keys") == 1
    assert ApiKey.objects.filter(name="Support bot").count() == 1


@pytest.mark.slow
def test_operator_code_is_requested_and_completes_the_change(
    signed_in, admin, account, settings
):
    settings.GATEWAY_APPROVAL_CODES = "1"
    client = signed_in(admin)
    kept = 'value="Support bot"'
    says(make(client, account), 202, 'name="approval_code"', kept)
    done = make(client, account, approval_code=ApprovalRequest.objects.get().code)
    assert SECRET.search(done.text)


@pytest.mark.slow
def test_key_is_limited_and_only_what_differs_is_sent(signed_in, admin, account, agent):
    client = signed_in(admin)
    path = path_of(account, agent, "change/")
    same = client.post(path, {"name": "Key agent", "scopes": ["read", "send"]})
    assert same.status_code == 422
    assert account.asked("PATCH", "") == 0
    fields = {"name": "Key agent", "scopes": ["read"]}
    for mailboxes in ([account.world.mailbox.pk], []):
        assert client.post(path, fields | {"mailboxes": mailboxes}).status_code == 302
        agent.refresh_from_db()
        assert agent.scopes == ["read"]
        assert agent.mailbox_ids == mailboxes
    # A mailbox that the form does not offer stays a limit.
    agent.mailbox_ids = [account.world.mailbox.pk]
    agent.save(update_fields=["mailbox_ids"])
    account.connection.mailboxes.update(is_active=False)
    client.post(path, {"name": "Other", "scopes": ["read"]})
    agent.refresh_from_db()
    assert (agent.name, agent.mailbox_ids) == ("Other", [account.world.mailbox.pk])
    first = Entry.objects.filter(action="api_key.changed").oldest_first()[0]
    assert first.detail.fields["after"].endswith("scopes: read")


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


@pytest.mark.slow
def test_key_is_paused_even_if_the_response_was_lost(account, agent, here):
    account.gateway.lost.add(("PATCH", f"/api-keys/{agent.pk}"))
    pause_key(**here, key_id=agent.pk, name="Agent")
    assert recorded()[-1] == "api_key.paused"
    assert read_key(**here, key_id=agent.pk).is_paused
