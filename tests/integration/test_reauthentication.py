"""Reauthentication before a sensitive act (line 41): the request is stored, encrypted,
and replayed once.
"""

import base64
import re
from html import unescape

import pytest
from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.urls import path

from approvals.models import Decision, Verdict
from audit.models import Entry
from dashboard.urls import *  # noqa: F403 - the desk's own addresses, beside those below
from dashboard.words import SENSITIVE
from people.sign_in import reauthentication
from people.sign_in.reauthentication import reauthenticated
from policy.models import KillSwitch
from tests.doors import DOORS
from tests.factories import put_in_force

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
            r'<input type="hidden" name="(next|back)" value="([^"]*)"', page.text
        )
    )
    return client.post(AGAIN, {**hidden, "password": password})


def resubmit(client, answer):
    """Do what the browser does on the interstitial page: post its form."""
    assert answer["Location"] == RESUBMIT
    page = client.get(RESUBMIT).text
    assert not DONE, "the page does nothing by itself"
    action = unescape(re.search(r'method="post" action="([^"]*)"', page)[1])
    ticket = re.search(r'name="saved_request" value="(\w+)"', page)[1]
    return client.post(action, {"saved_request": ticket})


def test_proof_counts_for_ten_minutes(signed_in, client, admin):
    answers = [
        signed_in(admin, minutes=minutes).get("/sensitive/").status_code
        for minutes in (0, 9, 11)
    ]
    assert answers == [200, 200, 302]
    client.logout()
    client.force_login(admin, backend="people.sign_in.backend.PersonBackend")
    assert client.get("/sensitive/").status_code == 302, "without any proof"


@pytest.fixture
def stale(signed_in, admin):
    """A browser in which the admin signed in eleven minutes ago."""
    return signed_in(admin, minutes=11)


def test_what_was_posted_is_done_after_the_password_once_and_whole(stale, admin):
    posted = {
        "name": ["Zoë & <b>", "two\r\nlines"],
        "empty": [""],
        "csrfmiddlewaretoken": ["x"],
    }
    answer = stale.post("/sensitive/?tab=a&b=%20c", posted)
    # The interstitial page asks first.
    assert stale.get(RESUBMIT)["Location"].startswith(AGAIN)
    refused = confirm(stale, answer, password="not this one")
    assert refused.status_code == 422
    assert "not this one" not in refused.text
    after = confirm(stale, answer)
    assert DONE == []
    page = stale.get(RESUBMIT).text
    assert ("Zoë" in page, "lines" in page) == (False, False), "a page has no secret"
    assert resubmit(stale, after).content == b"done"
    fields = {"name": ["Zoë & <b>", "two\r\nlines"], "empty": [""]}
    assert [("POST", "/sensitive/?tab=a&b=%20c", fields, False, str(admin.pk))] == DONE
    names = list(Entry.objects.oldest_first().values_list("action", flat=True))
    assert names[-2:] == ["person.confirmation_failed", "person.reauthenticated"]
    # Returning to the interstitial page finds nothing left to do.
    assert stale.get(RESUBMIT)["Location"] == "/queue/"
    assert len(DONE) == 1


def test_ticket_is_good_for_its_act_once_and_only_with_a_csrf_token(stale):
    confirm(stale, stale.post("/sensitive/", {"name": "typed"}))
    ticket = re.search(r'name="saved_request" value="(\w+)"', stale.get(RESUBMIT).text)
    fields = {"saved_request": ticket[1]}
    stale.handler.enforce_csrf_checks = True
    assert stale.post("/sensitive/", fields).status_code == 403
    stale.handler.enforce_csrf_checks = False
    for wrong in ({"saved_request": "other"}, {"saved_request": ""}):
        assert stale.post("/sensitive/", wrong)["Location"] == "/queue/"
    assert stale.post("/sensitive/?of=another", fields)["Location"] == "/queue/"
    assert DONE == []
    assert stale.post("/sensitive/", fields).content == b"done"
    assert stale.post("/sensitive/", fields)["Location"] == "/queue/"
    assert [posted for _, _, posted, *_ in DONE] == [{"name": ["typed"]}]


def test_nothing_that_was_posted_is_readable_in_the_database(stale):
    stale.post(
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
        assert "saved_request" in decoded


def test_expired_request_or_one_of_another_person_is_not_replayed(
    signed_in, admin, reviewer, monkeypatch
):
    client = signed_in(admin, minutes=11)
    client.post("/sensitive/", {"name": "typed"})
    stored = client.session["saved_request"]
    client = signed_in(reviewer)
    session = client.session
    session["saved_request"] = stored
    session.save()
    assert client.get(RESUBMIT)["Location"] == "/queue/"
    client = signed_in(admin, minutes=11)
    after = confirm(client, client.post("/sensitive/", {"name": "typed"}))
    monkeypatch.setattr(reauthentication, "_SAVED_SECONDS", -1)
    assert client.get(after["Location"])["Location"] == "/queue/"


def test_request_that_allauth_interrupts_is_stored_only_by_the_desk(stale):
    stale.post("/of-allauth/", {"secret": "typed"})
    assert "saved_request" in stale.session
    assert "account_reauthentication_state" not in stale.session


def test_confirming_leads_to_no_other_site(stale):
    page = stale.get(
        AGAIN, {"next": "//evil.example/", "back": "javascript:alert(1)"}
    ).text
    assert "evil.example" not in page
    assert "javascript:" not in page
    for elsewhere in ("//evil.example/", "javascript:alert(1)"):
        assert (
            stale.post(AGAIN, {"password": PASSWORD, "next": elsewhere})["Location"]
            == "/queue/"
        )


# --- the acts of the desk that ask for it


def test_approval_with_care_asks_and_goes_on_with_what_was_ticked(
    signed_in, reviewer, message
):
    put_in_force({"care": True})
    client = signed_in(reviewer, minutes=11)
    posted = {
        "fingerprint": message.revision.fingerprint,
        "risk_read": ["policy"],
        "typed": message.recipients[0].rpartition("@")[2],
    }
    answer = client.post(f"/queue/{message.public_id}/approve/", posted)
    assert not Verdict.objects.exists()
    resubmit(client, confirm(client, answer))
    assert Decision.objects.get().outcome == "approve"
    assert Verdict.objects.get().with_care


def test_pulling_the_kill_switch_never_waits_and_releasing_it_asks(
    signed_in, admin, connection
):
    client = signed_in(admin, minutes=60)
    client.post("/stop/pull/", {"scope": "all", "reason": "A flood"})
    switch = KillSwitch.objects.get(released_at=None)
    answer = client.post(f"/stop/{switch.pk}/release/")
    assert KillSwitch.objects.filter(released_at=None).exists()
    resubmit(client, confirm(client, answer))
    assert KillSwitch.objects.get().released_at


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


def test_confirmation_names_the_act_that_waits_whatever_it_is(stale):
    asking = {name for name, door in DOORS.items() if door.sure}
    assert asking - set(SENSITIVE) <= {"account_reauthenticate", "account_resubmit"}
    answer = stale.post("/people/1/deactivate/")
    page = stale.get(answer["Location"]).text
    assert "You are about to <strong>deactivate somebody</strong>." in page
    # A page that asks before it is shown.
    shown = stale.get(f"{AGAIN}?next=/connections/add/").text
    assert "<strong>add a connection</strong>" in shown


def test_act_that_was_given_up_is_not_done_by_confirming_something_else(stale):
    stale.post("/sensitive/", {"name": "typed"})
    confirm(stale, stale.get("/sensitive/"))
    assert stale.get(RESUBMIT).headers.get("Location") == "/queue/"
