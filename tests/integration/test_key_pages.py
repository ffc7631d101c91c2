"""The pages of API keys, on the real gateway: listing, making one that is shown once, limiting, owners, revoking."""

import re
from html import unescape

import pytest
from django.urls import reverse

from approvals.models import Connection, KeyOwner
from audit.models import Entry, EntryDetail
from gateway.models import ApiKey, ApprovalRequest
from tests.factories import make_connection, make_person

pytestmark = pytest.mark.django_db
SECRET = re.compile(r'id="secret"[^>]*>(mm_live_[0-9a-f]{40})<')


def text_of(answer):
    page = answer.content.decode().partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def told():
    return [one.action for one in Entry.objects.oldest_first() if one.action.startswith(("api_key", "account"))]


def ticket_of(answer):
    return re.search(r'name="ticket" value="([^"]+)"', answer.content.decode())[1]


def form(client, account, **fields):
    """What the browser sends for a key, with the ticket of a form that was opened for it."""
    page = client.get(f"/keys/{account.connection.pk}/add/")
    return {"name": "Support bot", "scopes": ["read", "send"], "ticket": ticket_of(page), **fields}


def make(client, account, **fields):
    return client.post(f"/keys/{account.connection.pk}/add/", form(client, account, **fields))


def path_of(account, key, act=""):
    return f"/keys/{account.connection.pk}/{key.pk}/{act}"


def test_keys_are_listed_with_what_they_may_and_whose_they_are(signed_in, admin, account):
    agent = ApiKey.objects.get(name="Key agent")
    KeyOwner.objects.create(connection=account.connection, upstream_key_id=agent.pk, person=admin)
    page = text_of(signed_in(admin).get("/keys/"))
    for words in ("Key agent", "send", "Ida Lindqvist", "never used", "this desk's oversight key, it seems"):
        assert words in page, words
    assert account.world.keys["agent"] not in page


def test_key_is_shown_once_and_kept_nowhere(signed_in, admin, account):
    client = signed_in(admin)
    fields = form(client, account, mailboxes=[account.world.mailbox.pk], owner=str(admin.pk))
    answer = client.post(f"/keys/{account.connection.pk}/add/", fields)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    text = SECRET.search(answer.content.decode())[1]
    made = ApiKey.objects.get(name="Support bot")
    assert (made.scopes, made.mailbox_ids) == (["read", "send"], [account.world.mailbox.pk])
    assert account.world.mailbox.pk in made.mailbox_ids
    assert KeyOwner.objects.get(upstream_key_id=made.pk).person == admin
    assert told() == ["account.change_asked", "api_key.created", "api_key.owner_set"]
    # Reloading sends the same form once more: no second key, and nothing to see.
    again = client.post(f"/keys/{account.connection.pk}/add/", fields)
    assert (again.status_code, text in again.content.decode()) == (409, False)
    assert ApiKey.objects.filter(name="Support bot").count() == 1
    for path in ("/keys/", path_of(account, made), "/audit/"):
        assert text not in client.get(path).content.decode()
    assert all(text not in str(one.fields) for one in EntryDetail.objects.all())
    assert text not in str(dict(client.session))


def test_text_of_a_key_is_in_no_log_line(signed_in, admin, account, caplog):
    caplog.set_level("DEBUG")
    text = SECRET.search(make(signed_in(admin), account).content.decode())[1]
    assert caplog.records
    assert all(text not in str(vars(record)) for record in caplog.records)


def test_form_that_waited_for_who_one_is_comes_back_whole(signed_in, admin, account):
    client, agent = signed_in(admin, minutes=11), ApiKey.objects.get(name="Key agent")
    asked = client.post(path_of(account, agent, "change/"), {"name": "Bot", "scopes": ["read", "oversight_read"]})
    client.post(asked["Location"], {"password": "correct horse battery"})
    kept = client.get(reverse("account_go_on")).content.decode()
    assert re.findall(r'<textarea name="scopes" hidden>\s*([^<]+)<', kept) == ["read", "oversight_read"]


def test_key_works_at_the_gateway_as_far_as_it_may(signed_in, admin, account):
    text = SECRET.search(make(signed_in(admin), account, scopes=["read"]).content.decode())[1]
    account.world.keys["new"] = text
    assert account.ask("GET", "/v1/mailboxes", key="new").status_code == 200
    assert account.ask("GET", "/v1/api-keys", key="new").status_code == 403


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scopes": ["send", "oversight"]}, "approve its own mail"),
        ({"scopes": []}, "Tick at least one"),
        ({"scopes": ["root"]}, "no such scope"),
        ({"name": ""}, "Give it a name"),
        ({"mailboxes": ["01ELSEWHERE"]}, "not one of this account"),
        ({"owner": "999999"}, "Choose somebody of the desk"),
    ],
)
def test_key_that_cannot_be_is_refused_at_its_field_and_nothing_is_asked(signed_in, admin, account, fields, says):
    answer = make(signed_in(admin), account, **fields)
    assert (answer.status_code, says in text_of(answer)) == (422, True)
    assert account.asked("POST", "/api-keys") == 0
    assert 'value="read" checked' in answer.content.decode() or "scopes" in fields


def test_form_without_its_ticket_makes_no_key(signed_in, admin, account):
    answer = make(signed_in(admin), account, ticket="")
    assert (answer.status_code, account.asked("POST", "/api-keys")) == (409, 0)


def test_key_whose_answer_was_lost_is_named_and_not_made_twice(signed_in, admin, account):
    account.gateway.lost.add(("POST", "/api-keys"))
    answer = make(signed_in(admin), account)
    page = text_of(answer)
    assert (answer.status_code, account.asked("POST", "/api-keys")) == (502, 1)
    assert "its answer was lost on the way, and the key's text with it" in page
    assert "Revoke the new Support bot" in page
    assert ApiKey.objects.filter(name="Support bot").count() == 1
    assert told() == ["account.change_asked", "api_key.change_failed"]


def test_key_that_was_not_made_after_a_broken_answer_says_so(signed_in, admin, account):
    account.gateway.spoiled[("POST", "/api-keys")] = (500, b'{"error": "Broken."}')
    answer = make(signed_in(admin), account)
    assert (answer.status_code, "No new key is in the list now" in text_of(answer)) == (502, True)


def test_code_of_an_operator_is_asked_for_and_finishes_it(signed_in, admin, account, settings):
    settings.GATEWAY_APPROVAL_CODES = True
    client = signed_in(admin)
    answer = make(client, account)
    page = answer.content.decode()
    assert (answer.status_code, 'name="approval_code"' in page, 'value="Support bot"' in page) == (202, True, True)
    code = ApprovalRequest.objects.get().code
    done = make(client, account, approval_code=code, ticket=ticket_of(answer))
    assert (done.status_code, bool(SECRET.search(done.content.decode()))) == (200, True)


def test_key_is_limited_and_only_what_differs_is_sent(signed_in, admin, account):
    agent = ApiKey.objects.get(name="Key agent")
    fields = {"name": "Key agent", "scopes": ["read"], "mailboxes": [account.world.mailbox.pk]}
    assert signed_in(admin).post(path_of(account, agent, "change/"), fields).status_code == 302
    agent.refresh_from_db()
    assert (agent.name, agent.scopes, agent.mailbox_ids) == ("Key agent", ["read"], [account.world.mailbox.pk])
    details = Entry.objects.get(action="api_key.changed").detail.fields
    assert ("scopes: read, send" in details["before"], "scopes: read" in details["after"]) == (True, True)
    back = {**fields, "mailboxes": []}
    assert signed_in(admin).post(path_of(account, agent, "change/"), back).status_code == 302
    agent.refresh_from_db()
    assert agent.mailbox_ids == []


def test_nothing_different_asks_nobody(signed_in, admin, account):
    agent = ApiKey.objects.get(name="Key agent")
    fields = {"name": "Key agent", "scopes": ["read", "send"]}
    answer = signed_in(admin).post(path_of(account, agent, "change/"), fields)
    assert (answer.status_code, account.asked("PATCH", "")) == (422, 0)


def test_giving_a_key_oversight_asks_for_the_code(signed_in, admin, account):
    reader = ApiKey.objects.get(name="Key reader")
    fields = {"name": "Key reader", "scopes": ["read", "oversight"]}
    answer = signed_in(admin).post(path_of(account, reader, "change/"), fields)
    assert (answer.status_code, 'name="approval_code"' in answer.content.decode()) == (202, True)
    fields["approval_code"] = ApprovalRequest.objects.get().code
    assert signed_in(admin).post(path_of(account, reader, "change/"), fields).status_code == 302
    reader.refresh_from_db()
    assert reader.scopes == ["read", "oversight"]


def test_owner_is_set_and_taken_off_again(signed_in, admin, reviewer, account):
    agent = ApiKey.objects.get(name="Key agent")
    client, path = signed_in(admin), path_of(account, agent, "owner/")
    assert client.post(path, {"owner": str(reviewer.pk)}).status_code == 302
    assert KeyOwner.objects.get().person == reviewer
    assert f'value="{reviewer.pk}" selected' in client.get(path_of(account, agent)).content.decode()
    assert client.post(path, {"owner": ""}).status_code == 302
    assert not KeyOwner.objects.exists()
    assert told() == ["api_key.owner_set", "api_key.owner_set"]


def test_revoking_says_what_stops_and_does_it(signed_in, admin, account):
    client, key = signed_in(admin), ApiKey.objects.get(name="Key desk")
    page = text_of(client.get(path_of(account, key, "revoke/")))
    assert "no decision is carried out" in page
    assert client.post(path_of(account, key, "revoke/")).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert "Revoked (1)" in text_of(client.get("/keys/"))


def test_revoked_though_the_answer_was_lost_is_found_out_by_reading(signed_in, admin, account):
    key = ApiKey.objects.get(name="Key agent")
    account.gateway.lost.add(("DELETE", f"/api-keys/{key.pk}"))
    assert signed_in(admin).post(path_of(account, key, "revoke/")).status_code == 302
    assert told()[-1] == "api_key.revoked"


def test_last_admin_key_is_not_revoked_and_that_is_told(signed_in, admin, account):
    key = ApiKey.objects.get(name="Key admin")
    answer = signed_in(admin).post(path_of(account, key, "revoke/"))
    assert (answer.status_code, "last key that can administer" in text_of(answer)) == (422, True)


@pytest.mark.parametrize(("status", "says"), [(401, "put in another"), (403, "403"), (404, "offer that"), (500, "500")])
def test_multimail_that_does_not_list_keys_is_told_and_the_page_stands(signed_in, admin, account, status, says):
    account.gateway.spoiled[("GET", "/api-keys")] = (status, b'{"error": "Not today."}')
    answer = signed_in(admin).get("/keys/")
    assert (answer.status_code, says in text_of(answer)) == (200, True)


def test_without_an_admin_key_the_page_says_what_is_missing(signed_in, admin, connection):
    client = signed_in(admin)
    assert "has no admin key here" in text_of(client.get("/keys/"))
    assert "has no admin key here" in text_of(client.get(f"/keys/{connection.pk}/add/"))


@pytest.mark.parametrize("role", ["reviewer", "auditor"])
def test_keys_are_no_business_of_others(signed_in, account, role):
    client, key = signed_in(make_person("x@yourteam.example", "X", role)), ApiKey.objects.get(name="Key agent")
    for path in (
        "/keys/",
        f"/keys/{account.connection.pk}/add/",
        path_of(account, key),
        path_of(account, key, "revoke/"),
    ):
        answer = client.get(path)
        assert (answer.status_code, "Only an admin of" in text_of(answer), "Key agent" in text_of(answer)) == (
            403,
            True,
            False,
        )
    for act, fields in (("revoke/", {}), ("owner/", {}), ("change/", {"name": "Mine", "scopes": ["read"]})):
        assert client.post(path_of(account, key, act), fields).status_code == 403
    assert account.gateway.calls == []


def test_admin_of_one_mailbox_does_not_see_the_accounts_keys(signed_in, account):
    keeper = make_person("k@yourteam.example", "K", "admin", connection=account.connection, mailbox=account.mailbox)
    assert signed_in(keeper).get("/keys/").status_code == 403
    stranger = make_person("y@yourteam.example", "Y", "admin", connection=make_connection("other"))
    assert signed_in(stranger).get(f"/keys/{account.connection.pk}/add/").status_code == 404


@pytest.mark.proves("security 41")
@pytest.mark.parametrize("act", ["change/", "owner/", "revoke/"])
def test_keys_ask_who_one_is(signed_in, admin, account, act):
    client, key = signed_in(admin, minutes=11), ApiKey.objects.get(name="Key agent")
    answer = client.post(path_of(account, key, act), {"name": "X", "scopes": ["admin"]})
    assert (answer.status_code, "/reauthenticate/" in answer["Location"]) == (302, True)
    answer = client.post(f"/keys/{account.connection.pk}/add/", {"name": "X", "scopes": ["admin"], "ticket": "x" * 16})
    assert "/reauthenticate/" in answer["Location"]
    assert account.gateway.calls == []


def test_key_that_is_not_there_leads_to_the_list(signed_in, admin, account):
    answer = signed_in(admin).get(f"/keys/{account.connection.pk}/01NOBODY/")
    assert (answer.status_code, "no API key of this id" in text_of(answer), "Key agent" in text_of(answer)) == (
        404,
        True,
        True,
    )


def test_hostile_name_of_a_key_is_drawn_and_not_obeyed(signed_in, admin, account):
    ApiKey.objects.filter(name="Key agent").update(name="<script>x</script>\u202etxt.exe")
    page = signed_in(admin).get("/keys/").content.decode()
    assert "<script>x" not in page
    assert "\u202e" not in page
    Connection.objects.filter(pk=account.connection.pk).update(removed_at="2026-11-20T10:00Z")
    assert "Key reader" not in signed_in(admin).get("/keys/").content.decode()
