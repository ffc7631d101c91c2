"""Reauthentication before a sensitive act (line 41): the request is stored, encrypted,
and replayed once.
"""

import base64
import re
from html import unescape

import pytest
from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, path

from approvals.models import Decision
from audit.models import Entry
from dashboard.urls import *  # noqa: F403 - the desk's own addresses, beside those below
from dashboard.words import SENSITIVE
from people.sign_in import reauthentication
from people.sign_in.reauthentication import reauthenticated
from policy.models import KillSwitch
from tests.doors import DOORS
from tests.factories import make_message
from tests.integration.test_bulk import decide, open_sheet
from tests.markup import says

pytestmark = pytest.mark.urls(__name__)

PASSWORD = "correct horse battery"
AGAIN = "/accounts/reauthenticate/"
RESUBMIT = "/accounts/reauthenticate/resubmit/"
DONE = []


@reauthenticated
def sensitive(request):
    """A view that records its requests."""
    DONE.append(
        (
            request.method,
            request.get_full_path(),
            dict(request.POST.lists()),
            bool(request.htmx),
            request.actor.id,
        )
    )
    return HttpResponse("done")


def of_allauth(request):
    raise ReauthenticationRequired


urlpatterns = [
    *urlpatterns,  # noqa: F405
    path("sensitive/", sensitive),
    path("of-allauth/", of_allauth),
]


@pytest.fixture(autouse=True)
def _nothing_done():
    DONE.clear()


def confirm(client, answer, password=PASSWORD):
    """Enter the password on the page that the response redirects to."""
    assert answer.status_code == 302, answer.content
    assert answer["Location"].startswith(AGAIN)
    page = client.get(answer["Location"])
    assert page.status_code == 200
    hidden = dict(
        re.findall(
            r'<input type="hidden" name="(next|back)" value="([^"]*)"',
            page.text,
        )
    )
    return client.post(AGAIN, {**hidden, "password": password})


def resubmit(client, answer):
    """Do what the browser does on the interstitial page: post its form."""
    assert answer["Location"] == RESUBMIT
    page = client.get(RESUBMIT).text
    assert ("<b>" in page, DONE) == (False, []), (
        "what was posted is escaped, and the page does nothing by itself"
    )
    action = unescape(re.search(r'method="post" action="([^"]*)"', page)[1])
    fields = re.findall(
        r'<textarea name="([^"]*)" hidden>\n(.*?)</textarea>', page, re.S
    )
    posted = {}
    for name, value in fields:
        posted.setdefault(name, []).append(unescape(value))
    return client.post(action, posted)


def test_proof_counts_for_ten_minutes(signed_in, client, admin):
    answers = [
        signed_in(admin, minutes=minutes).get("/sensitive/").status_code
        for minutes in (0, 9, 11)
    ]
    assert answers == [200, 200, 302]
    client.logout()
    client.force_login(admin, backend="people.sign_in.backend.PersonBackend")
    assert client.get("/sensitive/").status_code == 302, "without any proof"


def test_what_was_posted_is_done_after_the_password_once_and_whole(signed_in, admin):
    client = signed_in(admin, minutes=11)
    posted = {
        "name": ["Zoë & <b>", "two\r\nlines"],
        "empty": [""],
        "csrfmiddlewaretoken": ["x"],
    }
    answer = client.post("/sensitive/?tab=a&b=%20c", posted)
    # The interstitial page asks first.
    assert client.get(RESUBMIT)["Location"].startswith(AGAIN)
    refused = confirm(client, answer, password="not this one")
    says(refused, 422, 'aria-invalid="true"')
    assert "not this one" not in refused.text
    after = confirm(client, answer)
    assert DONE == []
    assert resubmit(client, after).content == b"done"
    fields = {"name": ["Zoë & <b>", "two\r\nlines"], "empty": [""]}
    assert [("POST", "/sensitive/?tab=a&b=%20c", fields, False, str(admin.pk))] == DONE
    # Returning to the interstitial page finds nothing left to do.
    assert client.get(RESUBMIT)["Location"] == "/queue/"
    assert len(DONE) == 1


def test_nothing_that_was_posted_is_readable_in_the_database(signed_in, admin):
    client = signed_in(admin, minutes=11)
    client.post(
        "/sensitive/",
        {"api_key": "mm_live_of_the_test"},
        headers={"Cookie2": "also-secret"},
    )
    for row in Session.objects.all():
        raw = row.session_data.split(":")[0].lstrip(".")
        data = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
        assert b"mm_live_of_the_test" not in data
        decoded = str(row.get_decoded())
        assert "mm_live_of_the_test" not in decoded
        assert "also-secret" not in decoded
        assert "kept_request" in decoded


def test_expired_request_or_one_of_another_person_is_not_replayed(
    signed_in, admin, reviewer, monkeypatch
):
    client = signed_in(admin, minutes=11)
    client.post("/sensitive/", {"name": "typed"})
    stored = client.session["kept_request"]
    client = signed_in(reviewer)
    session = client.session
    session["kept_request"] = stored
    session.save()
    assert client.get(RESUBMIT)["Location"] == "/queue/"
    client = signed_in(admin, minutes=11)
    after = confirm(client, client.post("/sensitive/", {"name": "typed"}))
    monkeypatch.setattr(reauthentication, "_SAVED_SECONDS", -1)
    assert client.get(after["Location"])["Location"] == "/queue/"


@pytest.mark.slow
def test_press_of_an_htmx_button_leads_the_whole_page_away(signed_in, admin):
    client = signed_in(admin, minutes=11)
    headers = {
        "HX-Request": "true",
        "HX-Current-URL": "http://testserver/queue/?tab=mine",
    }
    answer = client.post("/sensitive/", {"name": "typed"}, headers=headers)
    assert answer.status_code == 204
    assert answer["HX-Redirect"].startswith(AGAIN)
    page = client.get(answer["HX-Redirect"]).text
    assert 'href="/queue/?tab=mine"' in page
    # It goes on as a plain request.
    after = client.post(AGAIN, {"password": PASSWORD, "next": RESUBMIT})
    resubmit(client, after)
    assert [is_htmx for _, _, _, is_htmx, _ in DONE] == [False]


@pytest.mark.slow
def test_file_is_to_be_chosen_again(signed_in, admin):
    client = signed_in(admin, minutes=11)
    posted = {"list": SimpleUploadedFile("list.csv", b"a@acme.com"), "name": "typed"}
    answer = client.post(
        "/sensitive/", posted, headers={"Referer": "http://testserver/allowlists/"}
    )
    assert confirm(client, answer)["Location"] == "/allowlists/"
    assert DONE == []


def test_request_that_allauth_interrupts_is_stored_only_by_the_desk(signed_in, admin):
    client = signed_in(admin, minutes=11)
    answer = client.post("/of-allauth/", {"secret": "typed"})
    assert answer["Location"].startswith(AGAIN)
    assert "account_reauthentication_state" not in client.session


def test_confirming_leads_to_no_other_site(signed_in, admin):
    client = signed_in(admin, minutes=11)
    page = client.get(
        AGAIN, {"next": "//evil.example/", "back": "javascript:alert(1)"}
    ).text
    assert "evil.example" not in page
    assert "javascript:" not in page
    for elsewhere in ("//evil.example/", "javascript:alert(1)"):
        assert (
            client.post(AGAIN, {"password": PASSWORD, "next": elsewhere})["Location"]
            == "/queue/"
        )


def test_page_opens_after_the_password_and_the_ledger_records_it(signed_in, admin):
    client = signed_in(admin, minutes=11)
    confirm(client, client.get("/sensitive/"), password="wrong")
    assert (
        confirm(client, client.get("/sensitive/?tab=a"))["Location"]
        == "/sensitive/?tab=a"
    )
    names = list(Entry.objects.oldest_first().values_list("action", flat=True))
    assert names[-2:] == ["person.confirmation_failed", "person.reauthenticated"]
    assert Entry.objects.get(action="person.reauthenticated").actor_id == str(admin.pk)


@pytest.mark.slow
def test_person_without_a_password_sees_what_to_do(signed_in, admin):
    admin.set_unusable_password()
    admin.save()
    client = signed_in(admin, minutes=11)
    says(
        client.get(client.get("/sensitive/")["Location"]),
        403,
        "Sign out, sign in again",
    )


# --- the acts of the desk that ask for it


def test_bulk_approval_asks_and_goes_on_with_all_that_was_ticked_and_rejection_never_waits(
    signed_in, reviewer, connection
):
    messages = [
        make_message(connection, subject=f"Subject {one}", markdown=f"About {one}")
        for one in "abc"
    ]
    client = signed_in(reviewer, minutes=11)
    sheet = open_sheet(client, *messages)
    answer = decide(client, sheet, messages[:2])
    assert Decision.objects.count() == 0
    decide(client, sheet, messages[2:], "reject", reject_reason="Not this")
    assert Decision.objects.get().outcome == "reject"
    done = resubmit(client, confirm(client, answer))
    assert done["Location"].startswith("/queue/bulk/done/")
    assert set(Decision.objects.values_list("given_by", flat=True)) == {reviewer.pk}
    assert Decision.objects.filter(outcome="approve").count() == 2


def test_pulling_the_kill_switch_never_waits_and_releasing_it_asks(
    signed_in, admin, reviewer, connection
):
    client = signed_in(admin, minutes=60)
    assert (
        client.post("/stop/pull/", {"scope": "all", "reason": "A flood"})["Location"]
        == "/stop/"
    )
    switch = KillSwitch.objects.get(released_at=None)
    # A person who may not release is refused without reauthentication.
    assert (
        signed_in(reviewer, minutes=60).post(f"/stop/{switch.pk}/release/").status_code
        == 403
    )
    client = signed_in(admin, minutes=60)
    answer = client.post(f"/stop/{switch.pk}/release/")
    assert KillSwitch.objects.filter(released_at=None).exists()
    resubmit(client, confirm(client, answer))
    assert KillSwitch.objects.get().released_by == admin
    assert client.post(f"/stop/{switch.pk}/release/").status_code == 404


def test_letting_mail_leave_at_the_gateway_asks_and_holding_it_never_waits(
    signed_in, admin, connection, upstream
):
    upstream.answers["/v1/account"] = (200, {"id": "1", "hold_all": False})
    type(connection).objects.update(api_url=upstream.url, admin_key="mm_live_admin")
    client = signed_in(admin, minutes=60)
    held = client.post(f"/stop/gateway/{connection.pk}/", {"hold": "on"})
    let_go = client.post(f"/stop/gateway/{connection.pk}/", {"hold": "off"})
    assert not held.headers.get("Location", "").startswith(AGAIN)
    assert let_go["Location"].startswith(AGAIN)


def asks_first(view):
    """Whether a view is decorated by `reauthenticated`, or its module asks by itself."""
    while view is not None:
        if getattr(view, "__code__", None) and view.__code__.co_filename.endswith(
            "reauthentication.py"
        ):
            return True
        view = getattr(view, "__wrapped__", None)
    return False


def test_confirmation_names_the_act_that_waits_whatever_it_is(signed_in, admin):
    named = [one for one in get_resolver().url_patterns if isinstance(one, URLResolver)]
    patterns = [
        one
        for group in named
        for one in group.url_patterns
        if isinstance(one, URLPattern)
    ]
    asking = {str(one.name) for one in patterns if asks_first(one.callback)}
    asking |= {name for name, door in DOORS.items() if door.sure}
    assert (
        asking - set(SENSITIVE)
        == {"account_reauthenticate", "account_resubmit"} & asking
    )
    client = signed_in(admin, minutes=11)
    answer = client.post("/people/1/deactivate/")
    page = client.get(answer["Location"]).text
    assert "You are about to <strong>deactivate somebody</strong>." in page
    assert re.search(r"<title>\s*Confirm that it is you: deactivate somebody", page)
    after = confirm(client, answer)
    assert "<strong>deactivate somebody</strong>" in client.get(after["Location"]).text
    # A page that asks before it is shown; and an address that is none of ours.
    for wanted, words in (
        ("/connections/add/", "add a connection"),
        ("/nowhere/", ""),
        ("//evil.example/", ""),
    ):
        shown = client.get(f"{AGAIN}?next={wanted}").text
        assert re.findall("You are about to <strong>(.*?)</strong>", shown) == (
            [words] if words else []
        )
