"""A second factor: an app, passkeys and recovery codes; a role that requires one, and no way
around it (lines 39 and 45).
"""

import hashlib
import json
import re
from functools import partial
from html import unescape
from types import SimpleNamespace

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from audit.models import Entry
from common.actors import Role
from people.errors import FactorNotAllowed, NotYours
from people.models import RecoveryCode, RoleRule
from people.sign_in import factors as app_codes
from people.sign_in import factors as recovery
from people.sign_in.backend import PersonBackend
from people.sign_in.factors import (
    RECOVERY_CODES,
    codes_of,
    make_recovery_codes,
    remove_factor,
    set_role_rule,
    use_recovery_code,
)
from people.sign_in.middleware import SignInMiddleware
from people.sign_in.passkeys import CHALLENGE_SECONDS
from tests.factories import actor_of, change_row, make_person
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import leads_to, says
from tests.passkeys import Device
from tests.signing import SECRET, code_now, give_app, resume, sign_in
from tests.walk import PATHS

# Public pages, and pages for setting up a factor or signing out.
OPEN = {
    *"""
    healthz readyz metrics live csp-report account_login account_logout
    multimail-webhook discord-interactions slack-interactions service-worker manifest
    factors factor-app factor-passkey account_reauthenticate account_resubmit
    mfa_reauthenticate mfa_reauthenticate_webauthn oidc-login oidc-callback
""".split()
}
STEP = "/accounts/login/second/"


@pytest.fixture(autouse=True)
def _no_tries_yet():
    cache.clear()


@pytest.fixture
def strict(db):
    """Reviewers need a second factor."""
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)


def test_wrong_code_is_refused_and_recorded_and_does_not_sign_in(client, reviewer):
    give_app(reviewer)
    assert leads_to(sign_in(client, reviewer)) == STEP
    assert client.post(STEP, {"code": code_now(steps=9)}).status_code == 422
    assert client.get("/queue/").status_code == 302
    assert latest_details("person.sign_in_failed")["reason"] == "second factor"

    assert leads_to(client.post(STEP, {"code": code_now()})) == "/queue/"


def test_code_counts_once_also_in_the_next_half_minute_and_without_the_cache(
    client, reviewer
):
    give_app(reviewer)
    # Still valid for half a minute, because clocks may differ.
    code = code_now(steps=1)
    sign_in(client, reviewer)
    assert client.post(STEP, {"code": code}).status_code == 302
    cache.clear()
    other = Client()
    sign_in(other, reviewer)
    for used in (code, code_now()):
        assert other.post(STEP, {"code": used}).status_code == 422


def test_codes_are_read_as_they_are_pasted_and_as_keyboards_write_them(
    client, reviewer
):
    give_app(reviewer)
    code = code_now()
    wide = code.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    arabic = code.translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    for typed in (f"{code[:3]}-{code[3:]}", f"\u200e{code}\u200b", wide, arabic):
        read = app_codes.counter_of(SECRET, typed, after=0)
        assert app_codes.is_code(typed), typed
        assert read == app_codes.counter_of(SECRET, code, after=0), typed
    assert not app_codes.is_code(f"{code}0")
    stored = make_recovery_codes(actor=actor_of(reviewer))[0]
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in stored)
    assert use_recovery_code(person=reviewer, actor=actor_of(reviewer), code=wide)


@pytest.mark.django_db(transaction=True)
def test_code_that_several_try_at_once_is_taken_by_one():
    person = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    give_app(person)
    code = code_now()
    accepted = at_once(
        *[lambda: app_codes.use_code(person_id=person.pk, code=code) is not None] * 6
    )
    assert sorted(accepted) == [False] * 5 + [True]
    code = make_for(person)[0]
    assert sorted(at_once(*[partial(use, person, code)] * 4)) == [False] * 3 + [True]
    assert Entry.objects.filter(action="person.recovery_code_used").count() == 1


def test_second_step_lets_nobody_in_without_the_key_of_the_secret_or_once_deactivated(
    client, reviewer, settings
):
    give_app(reviewer)
    sign_in(client, reviewer)
    keys = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert client.post(STEP, {"code": code_now()}).status_code == 422
    settings.ENCRYPTION_KEYS = keys
    change_row(reviewer, is_active=False)
    client.post(STEP, {"code": code_now()})
    assert client.get("/queue/").status_code == 302


def test_app_is_added_by_its_code_stored_encrypted_and_signs_in(
    signed_in, reviewer, strict
):
    client = signed_in(reviewer)
    path = reverse("factor-app")
    assert client.get("/queue/").status_code == 302
    page = client.get(path).text
    # Its button to copy comes with a script, before the desk is open.
    assert "js/parts" in page
    secret = re.search(r'class="secret"[^>]*>([A-Z2-7 ]+)<', page)[1].replace(" ", "")
    assert secret not in str(dict(client.session.items()))
    wrong = client.post(path, {"code": code_now(secret, steps=9)})
    assert wrong.status_code == 422
    assert Authenticator.objects.count() == 0

    code = code_now(secret)
    assert client.post(path, {"code": code}).status_code == 302
    stored = Authenticator.objects.get(user=reviewer)
    assert secret not in str(stored.data)
    assert Entry.objects.of_action("person.factor_added").exists()
    assert client.get("/queue/").status_code == 200
    # The code that confirmed the app cannot be used to sign in.
    other = Client()
    sign_in(other, reviewer)
    assert other.post(STEP, {"code": code}).status_code == 422


def test_own_factor_is_removed_unless_it_is_the_last_required_one(
    signed_in, reviewer, second_reviewer
):
    mine = give_app(reviewer)
    theirs = give_app(second_reviewer)
    client = signed_in(reviewer)
    assert client.post(reverse("factor-remove", args=[theirs.pk])).status_code == 404
    assert client.post(reverse("factor-remove", args=[mine.pk])).status_code == 302
    assert Authenticator.objects.get() == theirs
    assert latest_details("person.factor_removed")["after"] == "nothing"
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    with pytest.raises(FactorNotAllowed, match="only one"):
        remove_factor(actor=actor_of(second_reviewer), factor_id=theirs.pk)


def test_gate_stops_whoever_lacks_a_needed_factor_at_every_address_but_the_set_up(
    rf, reviewer, strict
):
    """Call the check as Django does before every view, for each address of the desk."""
    gate = SignInMiddleware(lambda request: None)
    request = rf.get("/")
    request.user = PersonBackend().get_user(reviewer.pk)
    request.session = {}
    request.actor = actor_of(request.user)
    reached = set()
    for name in PATHS:
        request.resolver_match = SimpleNamespace(url_name=name)
        if gate.process_view(request, None, (), {}) is None:
            reached.add(name)
    assert reached == OPEN & set(PATHS)


def test_every_kind_of_answer_is_closed(signed_in, reviewer, strict):
    client = signed_in(reviewer)
    path = "/people/me/factors/"
    assert client.get("/queue/").status_code == 302
    assert client.get("/queue/?format=json").status_code == 403
    fragment = client.get("/queue/", headers={"HX-Request": "true"})
    assert fragment.status_code == 403
    assert fragment["HX-Redirect"] == path
    answer = client.get(path)
    assert answer.wsgi_request.actor.scopes == ()
    says(answer, 200, "Set up a second factor", "Sign out")


def test_session_from_before_the_rule_is_asked_for_the_factor_that_is_there_and_goes_on(
    signed_in, reviewer
):
    client = signed_in(reviewer)
    give_app(reviewer)
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    # A new factor requires the old one.
    for name in ("factor-app", "factor-passkey"):
        assert leads_to(client.get(reverse(name))).startswith("/people/me/factors/")
    step = leads_to(client.get("/queue/"))
    again = "/accounts/reauthenticate/code/?next=/queue/"
    assert again in client.get(step).text.replace("%2F", "/")
    assert leads_to(client.post(again, {"code": code_now()})) == "/queue/"
    assert client.get("/queue/").status_code == 200


def test_rule_is_set_by_an_admin_of_everything_who_has_what_it_asks(
    connection, reviewer, admin
):
    half = make_person("half@yourteam.example", "Hal", "admin", connection=connection)
    for person in (reviewer, half):
        with pytest.raises(NotYours):
            set_role_rule(actor=actor_of(person), role=Role.REVIEWER, needed=True)
    with pytest.raises(FactorNotAllowed):
        set_role_rule(actor=actor_of(admin), role=Role.ADMIN, needed=True)


def test_admin_takes_lost_factors_off_and_the_person_is_signed_out(
    signed_in, admin, reviewer
):
    give_app(reviewer)
    theirs = Client()
    sign_in(theirs, reviewer)
    theirs.post(STEP, {"code": code_now()})
    path = reverse("take-factors-off", args=[reviewer.pk])
    assert signed_in(admin).post(path).status_code == 302
    assert not Authenticator.objects.exists()
    assert theirs.get("/queue/").status_code == 302


@pytest.fixture(autouse=True)
def hashed(monkeypatch):
    """The passwords that were hashed; scrypt is slow by design, and replaced here."""
    used = []
    scrypt = hashlib.scrypt

    def quick(code, **costs):
        used.append({name: costs[name] for name in "nrp"})
        return scrypt(code, **{**costs, "n": 2})

    monkeypatch.setattr(recovery.hashlib, "scrypt", quick)
    return used


def make_for(person):
    return make_recovery_codes(actor=actor_of(person))


def use(person, code):
    return use_recovery_code(person=person, actor=actor_of(person), code=code)


def test_codes_are_shown_once_and_stored_as_slow_hashes(signed_in, reviewer, hashed):
    give_app(reviewer)
    client = signed_in(reviewer)
    answer = client.post(reverse("recovery-codes"))
    codes = re.findall(r'<li class="mono">([0-9A-Z-]+)</li>', answer.text)
    assert len(set(codes)) == RECOVERY_CODES
    assert hashed == [{"n": 2**14, "r": 8, "p": 1}] * RECOVERY_CODES
    page = client.get(reverse("factors")).text
    assert f"{RECOVERY_CODES} of {RECOVERY_CODES} left" in page
    stored = f"{list(RecoveryCode.objects.values())} {page}"
    assert not [one for one in codes if one in stored or one.replace("-", "") in stored]


def test_code_signs_in_once_and_is_noted(client, reviewer):
    give_app(reviewer)
    code = make_for(reviewer)[3]
    sign_in(client, reviewer)
    assert leads_to(client.post(STEP, {"code": code})) == "/queue/"
    assert client.session["_auth_user_id"] == str(reviewer.pk)
    assert Entry.objects.filter(action="person.recovery_code_used").count() == 1
    assert codes_of(reviewer.pk).left == RECOVERY_CODES - 1


def test_guesses_of_recovery_codes_are_limited_over_all_browsers_with_those_of_the_app(
    reviewer, settings
):
    settings.ACCOUNT_RATE_LIMITS = {
        **settings.ACCOUNT_RATE_LIMITS,
        "login_failed": "2/5m/key",
    }
    give_app(reviewer)
    right = make_for(reviewer)[0]
    answers = []
    for code in ("AAAAA-AAAAA", code_now(steps=9), right):
        browser = Client()
        sign_in(browser, reviewer)
        answers.append(browser.post(STEP, {"code": code}).status_code)
    assert answers == [422, 422, 429]
    assert codes_of(reviewer.pk).left == RECOVERY_CODES


def test_codes_of_somebody_else_and_of_before_do_not_count(reviewer, second_reviewer):
    give_app(reviewer)
    give_app(second_reviewer)
    before = make_for(reviewer)[0]
    theirs = make_for(second_reviewer)[0]
    now = make_for(reviewer)[0]
    # Spelling variants that people type are accepted.
    typed = " " + now.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    for code in (before, theirs, ""):
        assert not use(reviewer, code), code
    assert use(reviewer, typed)
    assert not use(reviewer, now)


def test_there_are_none_without_a_factor_and_they_go_with_the_last_one(reviewer):
    with pytest.raises(FactorNotAllowed, match="replace a second factor"):
        make_for(reviewer)
    app = give_app(reviewer)
    code = make_for(reviewer)[0]
    remove_factor(actor=actor_of(reviewer), factor_id=app.pk)
    assert not RecoveryCode.objects.exists()
    assert not use(reviewer, code)


HERE = "http://localhost"
PASSKEY = "/accounts/login/passkey/"
CONFIRM = "/accounts/reauthenticate/passkey/"
ELSEWHERE = (
    "https://localhost",
    "http://localhost:8001",
    "https://evil.example",
    "null",
)


def browser():
    return Client(SERVER_NAME="localhost")


@pytest.fixture
def device(reviewer):
    """A device whose passkey is the reviewer's."""
    client = resume(browser(), reviewer)
    one = Device()
    answer = post(
        client,
        reverse("factor-passkey"),
        one.make(options_of(client, reverse("factor-passkey")), origin=HERE),
    )
    assert answer.status_code == 302, answer.content
    return one


def post(client, path, credential):
    return client.post(path, {"credential": json.dumps(credential), "name": "Laptop"})


def options_of(client, path):
    """The options that a page offers its script."""
    if path == PASSKEY:
        return client.get(path, headers={"X-Requested-With": "XMLHttpRequest"}).json()[
            "request_options"
        ]
    page = client.get(path).text
    return json.loads(unescape(re.search(r'data-options="([^"]+)"', page)[1]))


def is_in(client):
    return "_auth_user_id" in client.session


def make_older(client):
    """Let the session's challenge be from a while ago."""
    session = client.session
    session["mfa.webauthn.state"]["made_at"] -= CHALLENGE_SECONDS + 1
    session.save()


def begun(path, person):
    """A browser in which this page is the next, and how to see that an answer was
    accepted there.
    """
    client = browser()
    if path == PASSKEY:
        return client, is_in
    if path == STEP:
        sign_in(client, person)
        return client, is_in
    resume(client, person, minutes=11)
    return client, lambda one: one.get(reverse("factor-app")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        PASSKEY,
        pytest.param(STEP, marks=pytest.mark.slow),
        pytest.param(CONFIRM, marks=pytest.mark.slow),
    ],
)
def test_answer_counts_once_in_its_session_soon_and_from_this_origin(
    path, device, reviewer
):
    for change in (
        "none",
        "another session",
        "late",
        "failed before",
        "kind",
        "unverified host",
        *ELSEWHERE,
    ):
        client, is_accepted = begun(path, reviewer)
        options = options_of(client, path)
        if change == "another session":
            options = options_of(begun(path, reviewer)[0], path)
        if change == "late":
            make_older(client)
        answer = device.use(options, origin=change if change in ELSEWHERE else HERE)
        if change == "failed before":
            # The answer to this challenge came from elsewhere first, so the challenge
            # is used.
            post(client, path, device.use(options, origin="https://evil.example"))
        if change == "kind":
            answer = device.use(options, origin=HERE, kind="webauthn.create")
        if change == "unverified host":
            options["publicKey"]["rpId"] = "evil.example"
            answer = device.use(options, origin=HERE)
        post(client, path, answer)
        assert is_accepted(client) is (change == "none"), change
        cache.clear()
    if path == PASSKEY:
        # It counts once.
        client = browser()
        answer = device.use(options_of(client, path), origin=HERE)
        told = Entry.objects.of_action("person.signed_in").count()
        for is_first in (True, False):
            post(client, path, answer)
            assert is_in(client) is is_first
            client.post("/accounts/logout/")
        assert Entry.objects.of_action("person.signed_in").count() == told + 1


def test_passkey_signs_in_behind_a_proxy_that_changes_the_port_of_the_host(
    device, settings
):
    settings.PUBLIC_URL = "http://localhost:8443"
    for origin, is_accepted in ((settings.PUBLIC_URL, True), (ELSEWHERE[1], False)):
        client = browser()
        post(client, PASSKEY, device.use(options_of(client, PASSKEY), origin=origin))
        assert is_in(client) is is_accepted, origin


def test_passkey_of_somebody_else_signs_nobody_else_in(device, second_reviewer):
    give_app(second_reviewer)
    theirs = Device()
    client = resume(browser(), second_reviewer)
    path = reverse("factor-passkey")
    post(client, path, theirs.make(options_of(client, path), origin=HERE))
    # With the right name, and the other person's passkey.
    theirs.user, device.user = device.user, theirs.user
    for used in (theirs, device):
        client = browser()
        post(client, PASSKEY, used.use(options_of(client, PASSKEY), origin=HERE))
        assert not is_in(client)


def test_new_passkey_answers_its_own_challenge_once_soon_and_from_this_origin(reviewer):
    path = reverse("factor-passkey")
    for change in ("another session", "late", *ELSEWHERE):
        client = resume(browser(), reviewer)
        options = options_of(client, path)
        if change == "another session":
            options = options_of(resume(browser(), reviewer), path)
        if change == "late":
            make_older(client)
        made = Device().make(options, origin=change if change in ELSEWHERE else HERE)
        assert post(client, path, made).status_code == 422, change
    client = resume(browser(), reviewer)
    options = options_of(client, path)
    # It stays on the device, so it signs in without a password.
    chosen = options["publicKey"]["authenticatorSelection"]
    assert chosen["residentKey"] == "required"
    answer = Device().make(options, origin=HERE)
    assert [post(client, path, answer).status_code for _ in range(2)] == [302, 422]
    assert Authenticator.objects.count() == 1
    assert latest_details("person.factor_added")["after"] == "passkey Laptop"
