"""The pages of webhooks, on the real gateway: registering, the secret that is shown once, tests, the log, replay."""

import re
from html import unescape

import pytest

from audit.models import Entry, EntryDetail
from gateway.models import ApprovalRequest, Webhook, WebhookDelivery
from tests.factories import make_connection, make_person

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/in"
SECRET = re.compile(r'id="secret"[^>]*>([^<]+)<')


def text_of(answer):
    page = answer.content.decode().partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def told():
    return [one.action for one in Entry.objects.oldest_first() if one.action.startswith(("hook", "account"))]


def ticket_of(answer):
    return re.search(r'name="ticket" value="([^"]+)"', answer.content.decode())[1]


def form(client, account, **fields):
    page = client.get(f"/webhooks/{account.connection.pk}/add/")
    return {"url": URL, "events": ["oversight.pending", "message.sent"], "ticket": ticket_of(page), **fields}


def register(client, account, **fields):
    return client.post(f"/webhooks/{account.connection.pk}/add/", form(client, account, **fields))


def path_of(account, hook, act=""):
    return f"/webhooks/{account.connection.pk}/{hook.pk}/{act}"


@pytest.fixture
def hook(account):
    return account.world.listen("oversight.pending", url=URL)


@pytest.fixture
def own_hook(account):
    """The one by which the desk hears."""
    url = f"https://desk.example.org/webhooks/multimail/{account.connection.webhook_id}/"
    return account.world.listen("oversight.pending", url=url)


def sent_to(hook, state=WebhookDelivery.State.FAILED, **fields):
    values = {"event_id": "01EVENT", "event": "oversight.pending", "body": b"{}", "trace": "t", **fields}
    return WebhookDelivery.objects.create(webhook=hook, state=state, **values)


def test_webhooks_are_listed_and_the_desks_own_is_marked(signed_in, admin, account, hook, own_hook):
    page = text_of(signed_in(admin).get("/webhooks/"))
    assert (URL in page, "oversight.pending" in page, page.count("this desk")) == (True, True, 1)
    assert "whsec_geheim" not in page


def test_webhook_is_registered_and_its_secret_shown_once(signed_in, admin, account):
    client = signed_in(admin)
    fields = form(client, account, mailbox=account.world.mailbox.pk)
    answer = client.post(f"/webhooks/{account.connection.pk}/add/", fields)
    made = Webhook.objects.get()
    assert (answer.status_code, SECRET.search(answer.content.decode())[1]) == (200, made.secret)
    assert (made.url, made.events, made.mailbox_id) == (
        URL,
        ["oversight.pending", "message.sent"],
        account.world.mailbox.pk,
    )
    assert told() == ["account.change_asked", "hook.registered"]
    again = client.post(f"/webhooks/{account.connection.pk}/add/", fields)
    assert (again.status_code, Webhook.objects.count(), made.secret in again.content.decode()) == (409, 1, False)
    for path in ("/webhooks/", path_of(account, made)):
        assert made.secret not in client.get(path).content.decode()
    assert all(made.secret not in str(one.fields) for one in EntryDetail.objects.all())


def test_secret_of_ones_own_is_taken_and_never_put_back_into_the_form(signed_in, admin, account):
    answer = register(signed_in(admin), account, secret="my own good secret", url="nonsense")
    assert (answer.status_code, "my own good secret" in answer.content.decode()) == (422, False)
    register(signed_in(admin), account, secret="my own good secret")
    assert Webhook.objects.get().secret == "my own good secret"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "ftp://x.example"}, "begins with https"),
        ({"url": "https://[x"}, "begins with https"),
        ({"url": "https://10.0.0.1/x"}, "private address"),
        ({"events": []}, "Tick at least one"),
        ({"events": ["root.taken"]}, "no such event"),
        ({"secret": "short"}, "8 to 200"),
        ({"mailbox": "01ELSEWHERE"}, "not one of this account"),
    ],
)
def test_webhook_that_cannot_be_is_refused_with_a_sentence(signed_in, admin, account, fields, says):
    answer = register(signed_in(admin), account, **fields)
    assert (answer.status_code, says in text_of(answer), Webhook.objects.count()) == (422, True, 0)


def test_registered_but_the_answer_was_lost_says_how_to_find_out(signed_in, admin, account):
    account.gateway.lost.add(("POST", "/webhooks"))
    answer = register(signed_in(admin), account)
    assert (answer.status_code, account.asked("POST", "/webhooks"), Webhook.objects.count()) == (502, 1, 1)
    assert "its secret was lost on the way" in text_of(answer)
    assert told() == ["account.change_asked", "hook.change_failed"]


def test_code_of_an_operator_is_asked_for_and_finishes_it(signed_in, admin, account, settings):
    settings.GATEWAY_APPROVAL_CODES = True
    client = signed_in(admin)
    answer = register(client, account)
    assert (answer.status_code, Webhook.objects.count()) == (202, 0)
    code = ApprovalRequest.objects.get().code
    assert register(client, account, approval_code=code).status_code == 200
    assert Webhook.objects.count() == 1


def test_log_tells_status_attempts_and_answer_and_a_finished_one_is_sent_again(signed_in, admin, account, hook):
    failed = sent_to(hook, attempts=4, response_status=503, last_error="It answered 503.")
    sent_to(hook, WebhookDelivery.State.DUE, event_id="01OTHER", event="message.sent")
    client = signed_in(admin)
    answer = client.get(path_of(account, hook))
    page = text_of(answer)
    for words in ("4 attempts, answered 503", "It answered 503.", "failed", "pending"):
        assert words in page, words
    # What is still on its way cannot be sent again.
    assert answer.content.decode().count("/replay/") == 1
    assert client.post(path_of(account, hook, f"sent/{failed.pk}/replay/")).status_code == 302
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == (WebhookDelivery.State.DUE, 0)
    assert told() == ["account.change_asked", "hook.replayed"]
    on_its_way = client.post(path_of(account, hook, f"sent/{failed.pk}/replay/"))
    assert (on_its_way.status_code, "still on its way" in text_of(on_its_way)) == (422, True)


def test_log_of_more_than_a_page_leads_on(signed_in, admin, account, hook):
    for number in range(51):
        sent_to(hook, event_id=f"01EVENT{number}")
    client = signed_in(admin)
    answer = client.get(path_of(account, hook))
    older = re.search(r'href="(\?before=[^"]+)"', answer.content.decode())[1].replace("&amp;", "&")
    assert answer.content.decode().count("/replay/") == 50
    assert client.get(path_of(account, hook) + older).content.decode().count("/replay/") == 1


def test_test_sends_one_event_that_is_about_no_message(signed_in, admin, account, hook):
    assert signed_in(admin).post(path_of(account, hook, "test/")).status_code == 302
    assert WebhookDelivery.objects.get().event == "webhook.test"
    assert told() == ["account.change_asked", "hook.tested"]


def test_another_secret_is_shown_once_and_the_old_one_goes_on(signed_in, admin, account, hook):
    client = signed_in(admin)
    fields = {"overlap": "3600", "ticket": ticket_of(client.get(path_of(account, hook)))}
    answer = client.post(path_of(account, hook, "rotate/"), fields)
    hook.refresh_from_db()
    assert (answer.status_code, SECRET.search(answer.content.decode())[1]) == (200, hook.secret)
    assert (hook.previous_secret, hook.secret != "whsec_geheim") == ("whsec_geheim", True)
    once, again = hook.secret, client.post(path_of(account, hook, "rotate/"), fields)
    hook.refresh_from_db()
    assert (again.status_code, hook.secret) == (409, once)


def test_secret_of_the_desks_own_is_not_changed_here(signed_in, admin, account, own_hook):
    client = signed_in(admin)
    page = client.get(path_of(account, own_hook))
    assert "rotate/" not in page.content.decode()
    answer = client.post(path_of(account, own_hook, "rotate/"), {"overlap": "0", "ticket": "x" * 16})
    own_hook.refresh_from_db()
    assert (answer.status_code, own_hook.secret) == (422, "whsec_geheim")


def test_webhook_is_deleted_and_the_desks_own_only_when_that_was_read(signed_in, admin, account, hook, own_hook):
    client = signed_in(admin)
    assert client.post(path_of(account, hook, "delete/")).status_code == 302
    hook.refresh_from_db()
    assert hook.deleted_at is not None
    assert "This desk hears by it" in text_of(client.get(path_of(account, own_hook, "delete/")))
    refused = client.post(path_of(account, own_hook, "delete/"))
    own_hook.refresh_from_db()
    assert (refused.status_code, own_hook.deleted_at) == (422, None)
    assert client.post(path_of(account, own_hook, "delete/"), {"understood": "1"}).status_code == 302
    own_hook.refresh_from_db()
    assert own_hook.deleted_at is not None


def test_deleted_though_the_answer_was_lost_is_found_out_by_reading(signed_in, admin, account, hook):
    account.gateway.lost.add(("DELETE", f"/webhooks/{hook.pk}"))
    assert signed_in(admin).post(path_of(account, hook, "delete/")).status_code == 302
    assert told()[-1] == "hook.deleted"


@pytest.mark.parametrize("act", ["test/", "rotate/"])
def test_multimail_that_does_not_offer_an_act_says_so_and_the_rest_works(signed_in, admin, account, hook, act):
    account.gateway.spoiled[("POST", f"/{act.strip('/')}")] = (404, b'{"error": "There is nothing at this path."}')
    client = signed_in(admin)
    fields = {"overlap": "0", "ticket": ticket_of(client.get(path_of(account, hook)))}
    answer = client.post(path_of(account, hook, act), fields)
    assert (answer.status_code, "does not offer that" in text_of(answer)) == (422, True)
    assert URL in text_of(answer)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_multimail_that_lists_nothing_is_told_and_the_page_stands(signed_in, admin, account, hook, status):
    client, broken = signed_in(admin), (status, b'{"error": "Not today."}')
    account.gateway.spoiled[("GET", "/webhook-deliveries")] = broken
    page = client.get(path_of(account, hook))
    assert (page.status_code, "The log could not be read" in text_of(page), URL in text_of(page)) == (200, True, True)
    account.gateway.spoiled[("GET", "/webhooks")] = broken
    page = client.get("/webhooks/")
    assert (page.status_code, "could not be read" in text_of(page)) == (200, True)


def test_without_an_admin_key_the_page_says_what_is_missing(signed_in, admin, connection):
    client = signed_in(admin)
    assert "has no admin key here" in text_of(client.get("/webhooks/"))
    assert "has no admin key here" in text_of(client.get(f"/webhooks/{connection.pk}/add/"))


@pytest.mark.parametrize("role", ["reviewer", "auditor"])
def test_webhooks_are_no_business_of_others(signed_in, account, hook, role):
    client = signed_in(make_person("x@yourteam.example", "X", role))
    for path in ("/webhooks/", f"/webhooks/{account.connection.pk}/add/", path_of(account, hook)):
        answer = client.get(path)
        assert (answer.status_code, URL in text_of(answer)) == (403, False)
    for act in ("test/", "rotate/", "delete/", "sent/1/replay/"):
        assert client.post(path_of(account, hook, act)).status_code == 403
    stranger = make_person("y@yourteam.example", "Y", "admin", connection=make_connection("other"))
    assert signed_in(stranger).get(path_of(account, hook)).status_code == 404
    assert account.gateway.calls == []


@pytest.mark.proves("security 41")
@pytest.mark.parametrize("act", ["test/", "rotate/", "delete/", "sent/1/replay/"])
def test_webhooks_ask_who_one_is(signed_in, admin, account, hook, act):
    client = signed_in(admin, minutes=11)
    assert "/reauthenticate/" in client.post(path_of(account, hook, act))["Location"]
    assert "/reauthenticate/" in client.post(f"/webhooks/{account.connection.pk}/add/", {"url": URL})["Location"]
    assert account.gateway.calls == []


def test_intake_is_still_where_it_was(client, connection):
    path = f"/webhooks/multimail/{connection.webhook_id}/"
    assert client.post(path, b"{}", content_type="application/json").status_code == 401
