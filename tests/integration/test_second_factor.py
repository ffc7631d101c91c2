"""A second factor: adding it, being asked for it, a role that needs it, and no way around it (lines 39 and 45)."""

import re
import subprocess
import sys
import threading
import uuid

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from audit.models import Entry, EntryDetail
from people import app_codes
from people.actors import Role
from people.errors import FactorNotAllowed
from people.factors import remove_factor, set_role_rule
from people.models import Grant, RoleRule
from tests.factories import make_message, make_person
from tests.signing import code_now, give_app, sign_in
from tests.walk import PATHS, POST_ONLY

pytestmark = pytest.mark.django_db

# What is everybody's, and what it takes to set a factor up or to leave.
OPEN = {
    *("healthz", "readyz", "metrics", "live", "csp-report", "account_login", "account_logout"),
    *("multimail-webhook", "discord-interactions"),
    *("factors", "factor-app", "factor-passkey"),
    *("account_reauthenticate", "account_go_on", "mfa_reauthenticate", "mfa_reauthenticate_webauthn"),
    *("oidc-login", "oidc-callback"),
}
ROLE_RULE = {"role": "reviewer", "needed": "yes"}


@pytest.fixture(autouse=True)
def _no_tries_yet():
    cache.clear()


@pytest.fixture
def strict(db):
    """Reviewers need a second factor."""
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)


def address_of(name, message):
    """An address of this page, whatever it is about: what is asked for is looked up behind the gate."""
    known = {"public_id": message.public_id, "upstream_id": message.upstream_id}
    asked = re.findall(r"<(\w+):(\w+)>", PATHS[name])
    made = {"int": message.connection_id, "uuid": uuid.UUID(int=1)}
    return reverse(name, kwargs={key: known.get(key) or made.get(kind, "all") for kind, key in asked})


def actions():
    return [*Entry.objects.order_by("id").values_list("action", flat=True)]


def test_password_alone_does_not_sign_in_who_has_an_app(client, reviewer):
    give_app(reviewer)
    answer = sign_in(client, reviewer)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/second/")
    assert client.get("/queue/").status_code == 302
    page = client.get("/accounts/login/second/").content.decode()
    assert "authenticator app" in page
    answer = client.post("/accounts/login/second/", {"code": code_now()})
    assert (answer.status_code, answer["Location"]) == (302, "/queue/")
    assert client.get("/queue/").status_code == 200


def test_wrong_code_is_told_and_noted_and_does_not_sign_in(client, reviewer):
    give_app(reviewer)
    sign_in(client, reviewer)
    answer = client.post("/accounts/login/second/", {"code": code_now(steps=9)})
    assert answer.status_code == 422
    assert 'id="code-error" role="alert"' in answer.content.decode()
    assert client.get("/queue/").status_code == 302
    assert actions() == ["person.sign_in_failed"]
    assert EntryDetail.objects.get().fields["reason"] == "second factor"


def test_tries_at_the_second_step_are_limited_over_all_browsers(reviewer):
    give_app(reviewer)
    for _ in range(5):
        browser = Client()
        sign_in(browser, reviewer)
        browser.post("/accounts/login/second/", {"code": code_now(steps=9)})
    browser = Client()
    sign_in(browser, reviewer)
    answer = browser.post("/accounts/login/second/", {"code": code_now()})
    assert "Too many tries" in answer.content.decode()
    assert browser.get("/queue/").status_code == 302


@pytest.mark.proves("security 45")
def test_code_counts_once_also_in_the_next_half_minute_and_without_the_cache(client, reviewer):
    give_app(reviewer)
    # Still good for half a minute, because clocks may differ.
    code = code_now(steps=1)
    sign_in(client, reviewer)
    assert client.post("/accounts/login/second/", {"code": code}).status_code == 302
    cache.clear()
    other = Client()
    sign_in(other, reviewer)
    assert other.post("/accounts/login/second/", {"code": code}).status_code == 422
    assert other.post("/accounts/login/second/", {"code": code_now()}).status_code == 422
    assert other.get("/queue/").status_code == 302


@pytest.mark.proves("security 45")
@pytest.mark.django_db(transaction=True)
def test_code_that_reaches_several_processes_at_once_counts_once():
    person = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    give_app(person)
    code, taken, ready = code_now(), [], threading.Barrier(6)

    def attempt():
        try:
            ready.wait()
            taken.append(app_codes.use(person_id=person.pk, code=code) is not None)
        finally:
            database.close()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 5 + [True]


def test_secret_that_no_key_reads_any_more_lets_nobody_in_and_breaks_nothing(client, reviewer, settings):
    give_app(reviewer)
    sign_in(client, reviewer)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert client.post("/accounts/login/second/", {"code": code_now()}).status_code == 422
    assert client.get("/queue/").status_code == 302


def test_app_is_added_by_the_code_that_it_shows_and_its_secret_is_stored_encrypted(signed_in, reviewer):
    client = signed_in(reviewer)
    page = client.get(reverse("factor-app")).content.decode()
    secret = re.search(r'mono secret">([A-Z2-7 ]+)<', page)[1].replace(" ", "")
    assert 'src="data:image/svg+xml;base64,' in page
    assert "style=" not in page
    assert secret not in str(dict(client.session.items()))
    wrong = client.post(reverse("factor-app"), {"code": code_now(secret, steps=9)})
    assert (wrong.status_code, Authenticator.objects.count()) == (422, 0)
    assert secret in wrong.content.decode().replace(" ", "")
    assert client.post(reverse("factor-app"), {"code": code_now(secret)}).status_code == 302
    stored = Authenticator.objects.get()
    assert stored.user_id == reviewer.pk
    assert secret not in str(stored.data)
    assert actions()[-1] == "person.factor_added"
    # The code that proved it signs nobody in.
    other = Client()
    sign_in(other, reviewer)
    assert other.post("/accounts/login/second/", {"code": code_now(secret)}).status_code == 422


@pytest.mark.parametrize("name", ["factor-app", "factor-passkey", "recovery-codes"])
def test_factors_are_changed_only_by_who_has_just_proved_who_they_are(signed_in, reviewer, name):
    give_app(reviewer)
    client = signed_in(reviewer, minutes=11)
    for ask in (client.get, client.post):
        answer = ask(reverse(name))
        if answer.status_code != 405:
            assert answer.status_code == 302
            assert answer["Location"].startswith("/accounts/reauthenticate/")


def test_factor_of_somebody_else_does_not_exist(signed_in, reviewer, second_reviewer):
    theirs = give_app(second_reviewer)
    client = signed_in(reviewer)
    assert client.post(reverse("factor-remove", args=[theirs.pk])).status_code == 404
    assert client.post(reverse("factor-name", args=[theirs.pk]), {"name": "Mine"}).status_code == 404
    assert Authenticator.objects.filter(pk=theirs.pk).exists()


def test_factor_is_taken_off_and_noted(signed_in, reviewer):
    client, app = signed_in(reviewer), give_app(reviewer)
    assert client.post(reverse("factor-remove", args=[app.pk])).status_code == 302
    assert not Authenticator.objects.exists()
    assert actions()[-1] == "person.factor_removed"


def test_last_factor_stays_while_the_role_needs_one(reviewer, strict):
    app = give_app(reviewer)
    with pytest.raises(FactorNotAllowed, match="only one"):
        remove_factor(actor=reviewer.actor(surface="web"), factor_id=app.pk)
    assert Authenticator.objects.exists()


@pytest.mark.proves("security 39")
def test_whoever_lacks_a_needed_factor_reaches_nothing_but_the_set_up(signed_in, connection, reviewer, strict):
    message = make_message(connection, subject="Not before the second factor")
    reached = []
    for name in PATHS:
        client = signed_in(reviewer)
        ask = client.post if name in POST_ONLY else client.get
        for headers in ({}, {"HX-Request": "true"}, {"Accept": "application/json"}):
            answer = ask(address_of(name, message), headers=headers)
            assert b"Not before the second factor" not in answer.content, name
            stopped = answer.status_code == 302 and answer["Location"].startswith("/people/me/factors/")
            stopped |= answer.status_code == 403 and "second factor" in answer.content.decode()
            if not stopped:
                reached.append(name)
    assert set(reached) - {"mfa_login_webauthn", "mfa_authenticate", "join"} == OPEN & set(PATHS)


@pytest.mark.proves("security 39")
def test_twin_for_scripts_and_live_stream_are_closed_too(signed_in, connection, reviewer, strict):
    make_message(connection)
    client = signed_in(reviewer)
    assert client.get("/queue/?format=json").status_code == 403
    assert client.get("/live/reach/", headers={"Accept": "*/*"}).status_code != 200
    fragment = client.get("/queue/", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment["HX-Redirect"]) == (403, "/people/me/factors/")


def test_pages_of_the_set_up_show_nothing_of_the_desk(signed_in, connection, reviewer, strict):
    make_message(connection)
    answer = signed_in(reviewer).get("/people/me/factors/")
    page = answer.content.decode()
    assert "Set up a second factor" in page
    assert answer.wsgi_request.actor.scopes == ()
    assert 'id="rail"' not in page
    assert "Sign out" in page


def test_desk_opens_as_soon_as_the_factor_is_set_up(signed_in, reviewer, strict):
    client = signed_in(reviewer)
    page = client.get(reverse("factor-app")).content.decode()
    secret = re.search(r'mono secret">([A-Z2-7 ]+)<', page)[1].replace(" ", "")
    client.post(reverse("factor-app"), {"code": code_now(secret)})
    assert client.get("/queue/").status_code == 200


def test_session_from_before_the_rule_is_asked_for_the_factor_and_goes_on(signed_in, reviewer):
    client = signed_in(reviewer)
    give_app(reviewer)
    assert client.get("/queue/").status_code == 200
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    answer = client.get("/queue/")
    assert answer["Location"] == "/people/me/factors/?next=%2Fqueue%2F"
    page = client.get(answer["Location"]).content.decode()
    assert "/accounts/reauthenticate/code/?next=%2Fqueue%2F" in page.replace("/queue/", "%2Fqueue%2F")
    answer = client.post("/accounts/reauthenticate/code/?next=/queue/", {"code": code_now()})
    assert (answer.status_code, answer["Location"]) == (302, "/queue/")
    assert client.get("/queue/").status_code == 200


def test_no_new_factor_without_the_old_one_in_a_session_from_before_the_rule(signed_in, reviewer, strict):
    give_app(reviewer)
    client = signed_in(reviewer)
    for name in ("factor-app", "factor-passkey"):
        assert client.get(reverse(name))["Location"].startswith("/people/me/factors/")
    assert client.post(reverse("recovery-codes"))["Location"].startswith("/people/me/factors/")
    assert client.get("/queue/").status_code == 302


def test_rule_holds_from_the_next_request_for_a_role_that_is_given(signed_in, auditor, strict):
    client = signed_in(auditor)
    assert client.get("/audit/").status_code == 200
    Grant.objects.create(person=auditor, role="reviewer")
    assert client.get("/audit/").status_code == 302


def test_rule_costs_no_query(signed_in, reviewer, strict, django_assert_num_queries):
    client = signed_in(reviewer)
    with django_assert_num_queries(2):
        # The session and the person; in it stands that the gate is closed.
        assert client.get("/queue/").status_code == 302


def test_rule_of_another_role_asks_nothing(signed_in, auditor, strict):
    assert signed_in(auditor).get("/audit/").status_code == 200


def test_admin_cannot_lock_themselves_out(signed_in, admin):
    answer = signed_in(admin).post(reverse("set-second-factor"), {"role": "admin", "needed": "yes"})
    assert answer.status_code == 409
    assert "you lock yourself out" in answer.content.decode()
    assert not RoleRule.objects.filter(needs_second_factor=True).exists()


def test_admin_of_everything_sets_the_rule_once_and_it_is_noted(signed_in, admin, reviewer):
    client = signed_in(admin)
    for _ in range(2):
        assert client.post(reverse("set-second-factor"), ROLE_RULE).status_code == 302
    assert RoleRule.objects.get().needs_second_factor
    assert actions().count("role.second_factor_set") == 1
    page = client.get(reverse("second-factor")).content.decode()
    assert "Lacks one" in page
    assert reviewer.email in page


def test_nobody_else_sees_or_sets_the_rule(signed_in, connection, reviewer, auditor):
    half = make_person("half@yourteam.example", "Hal", "admin", connection=connection)
    for person in (reviewer, auditor, half):
        client = signed_in(person)
        assert client.get(reverse("second-factor")).status_code == 403
        assert client.post(reverse("set-second-factor"), ROLE_RULE).status_code == 403
        assert client.post(reverse("take-factors-off", args=[reviewer.pk])).status_code == 404
        with pytest.raises(FactorNotAllowed):
            set_role_rule(actor=person.actor(surface="web"), role=Role.REVIEWER, needed=True)
    assert not RoleRule.objects.exists()


def test_admin_takes_lost_factors_off_and_the_person_is_signed_out(signed_in, admin, reviewer):
    give_app(reviewer)
    theirs = Client()
    sign_in(theirs, reviewer)
    theirs.post("/accounts/login/second/", {"code": code_now()})
    assert theirs.get("/queue/").status_code == 200
    assert signed_in(admin).post(reverse("take-factors-off", args=[reviewer.pk])).status_code == 302
    assert not Authenticator.objects.exists()
    assert theirs.get("/queue/").status_code == 302
    assert "person.factor_removed" in actions()


@pytest.mark.proves("security 39")
def test_there_is_no_django_admin(signed_in, client, admin):
    assert client.get("/admin/").status_code == 404
    assert signed_in(admin).get("/admin/login/").status_code == 404


def test_deactivated_person_does_not_come_in_by_the_second_step(client, reviewer):
    give_app(reviewer)
    sign_in(client, reviewer)
    type(reviewer).objects.filter(pk=reviewer.pk).update(is_active=False)
    client.post("/accounts/login/second/", {"code": code_now()})
    assert client.get("/queue/").status_code == 302


NONSENSE = ["", "{}", "[]", "null", '"x"', '{"id": 1}', '{"response": {"userHandle": "OQ"}}', "{" * 2000, "\x00"]


@pytest.mark.parametrize("credential", NONSENSE, ids=range(len(NONSENSE)))
def test_passkey_that_is_none_is_refused_in_words(client, reviewer, signed_in, credential):
    client.get("/accounts/login/passkey/", headers={"X-Requested-With": "XMLHttpRequest"})
    answer = client.post("/accounts/login/passkey/", {"credential": credential, "next": "/history/"})
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=%2Fhistory%2F")
    assert "This passkey was not accepted" in client.get(answer["Location"]).content.decode()
    mine = signed_in(reviewer)
    assert mine.post(reverse("factor-passkey"), {"credential": credential}).status_code == 422
    assert not Authenticator.objects.exists()


def test_passkey_sign_in_is_limited(client):
    answers = [client.post("/accounts/login/passkey/", {"credential": "{}"}).status_code for _ in range(11)]
    assert answers[-1] == 429


def test_address_that_is_a_number_says_that_passkeys_need_a_name(signed_in, reviewer):
    page = signed_in(reviewer).get("/people/me/factors/", headers={"Host": "127.0.0.1:8000"}).content.decode()
    assert "http://localhost:8000/people/me/factors/" in page
    assert reverse("factor-passkey") not in page


def test_password_is_typed_but_once_for_who_has_no_factor(client, reviewer):
    assert sign_in(client, reviewer)["Location"] == "/queue/"


LOADED = """
import django, sys
django.setup()
from dashboard.celery import app
app.loader.import_default_modules()
from django.urls import reverse
reverse("queue")
print(sorted({"fido2", "qrcode"} & set(sys.modules)))
"""


def test_processes_that_read_no_passkey_load_nothing_for_it():
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
