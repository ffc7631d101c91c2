"""A second factor: adding it, using it, a role that requires it, and no way around it
(lines 39 and 45).
"""

import re
from types import SimpleNamespace

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from audit.models import Entry, EntryDetail
from common.actors import Role
from people.errors import FactorNotAllowed
from people.models import RoleRule
from people.sign_in import factors as app_codes
from people.sign_in.backend import PersonBackend
from people.sign_in.factors import remove_factor, set_role_rule
from people.sign_in.middleware import SignInMiddleware
from tests.factories import actor_of, make_person
from tests.integration.deciding import at_once
from tests.markup import leads_to, says
from tests.signing import code_now, give_app, sign_in
from tests.walk import PATHS

# Public pages, and pages for setting up a factor or signing out.
OPEN = {
    "healthz",
    "readyz",
    "metrics",
    "live",
    "csp-report",
    "account_login",
    "account_logout",
    "multimail-webhook",
    "discord-interactions",
    "factors",
    "factor-app",
    "factor-passkey",
    "account_reauthenticate",
    "account_resubmit",
    "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn",
    "oidc-login",
    "oidc-callback",
}
STEP = "/accounts/login/second/"
ROLE_RULE = {"role": "reviewer", "needed": "yes"}


@pytest.fixture(autouse=True)
def _no_tries_yet():
    cache.clear()


@pytest.fixture
def strict(db):
    """Reviewers need a second factor."""
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)


def actions():
    return [*Entry.objects.order_by("id").values_list("action", flat=True)]


def test_wrong_code_is_refused_and_recorded_and_does_not_sign_in(client, reviewer):
    give_app(reviewer)
    assert leads_to(sign_in(client, reviewer)) == STEP
    assert client.post(STEP, {"code": code_now(steps=9)}).status_code == 422
    assert client.get("/queue/").status_code == 302
    assert actions()[-1] == "person.sign_in_failed"
    assert EntryDetail.objects.latest("pk").fields["reason"] == "second factor"

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


@pytest.mark.django_db(transaction=True)
def test_code_that_reaches_several_processes_at_once_counts_once():
    person = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    give_app(person)
    code = code_now()
    accepted = at_once(
        *[lambda: app_codes.use_code(person_id=person.pk, code=code) is not None] * 6
    )
    assert sorted(accepted) == [False] * 5 + [True]


def test_second_step_lets_nobody_in_without_the_key_of_the_secret_or_once_deactivated(
    client, reviewer, settings
):
    give_app(reviewer)
    sign_in(client, reviewer)
    keys = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert client.post(STEP, {"code": code_now()}).status_code == 422
    settings.ENCRYPTION_KEYS = keys
    type(reviewer).objects.filter(pk=reviewer.pk).update(is_active=False)
    client.post(STEP, {"code": code_now()})
    assert client.get("/queue/").status_code == 302


def test_app_is_added_by_its_code_stored_encrypted_and_signs_in(
    signed_in, reviewer, strict
):
    client = signed_in(reviewer)
    path = reverse("factor-app")
    assert client.get("/queue/").status_code == 302
    page = client.get(path).text
    secret = re.search(r'mono secret">([A-Z2-7 ]+)<', page)[1].replace(" ", "")
    assert secret not in str(dict(client.session.items()))
    wrong = client.post(path, {"code": code_now(secret, steps=9)})
    assert wrong.status_code == 422
    assert Authenticator.objects.count() == 0

    code = code_now(secret)
    assert client.post(path, {"code": code}).status_code == 302
    stored = Authenticator.objects.get()
    assert stored.user_id == reviewer.pk
    assert secret not in str(stored.data)
    assert actions()[-1] == "person.factor_added"
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
    for act in ("factor-remove", "factor-name"):
        path = reverse(act, args=[theirs.pk])
        assert client.post(path, {"name": "Mine"}).status_code == 404, act
    assert client.post(reverse("factor-remove", args=[mine.pk])).status_code == 302
    assert Authenticator.objects.get() == theirs
    assert actions()[-1] == "person.factor_removed"
    RoleRule.objects.create(role="reviewer", needs_second_factor=True)
    with pytest.raises(FactorNotAllowed, match="only one"):
        remove_factor(actor=actor_of(second_reviewer), factor_id=theirs.pk)
    assert Authenticator.objects.exists()


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
    for ask, name in (
        (client.get, "factor-app"),
        (client.get, "factor-passkey"),
        (client.post, "recovery-codes"),
    ):
        assert leads_to(ask(reverse(name))).startswith("/people/me/factors/"), name
    step = leads_to(client.get("/queue/"))
    assert step == "/people/me/factors/?next=%2Fqueue%2F"
    again = "/accounts/reauthenticate/code/?next=/queue/"
    assert again in client.get(step).text.replace("%2F", "/")
    assert leads_to(client.post(again, {"code": code_now()})) == "/queue/"
    assert client.get("/queue/").status_code == 200


def test_admin_of_everything_sets_the_rule_once_and_does_not_lock_themselves_out(
    signed_in, admin, reviewer
):
    client = signed_in(admin)
    path = reverse("set-second-factor")
    own = {"role": "admin", "needed": "yes"}
    assert client.post(path, own).status_code == 409
    assert not RoleRule.objects.filter(needs_second_factor=True).exists()
    for _ in range(2):
        assert client.post(path, ROLE_RULE).status_code == 302
    assert RoleRule.objects.get(needs_second_factor=True).role == "reviewer"
    assert actions().count("role.second_factor_set") == 1
    says(client.get(reverse("second-factor")), 200, "Lacks one", reviewer.email)


def test_nobody_else_sets_the_rule(connection, reviewer):
    half = make_person("half@yourteam.example", "Hal", "admin", connection=connection)
    for person in (reviewer, half):
        with pytest.raises(FactorNotAllowed):
            set_role_rule(actor=actor_of(person), role=Role.REVIEWER, needed=True)


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
    assert "person.factor_removed" in actions()


def test_passkey_that_is_none_is_refused_in_words_and_tries_are_limited(
    client, reviewer, signed_in
):
    path = "/accounts/login/passkey/"
    page = "/accounts/login/?next=%2Fhistory%2F"
    client.get(path, headers={"X-Requested-With": "XMLHttpRequest"})
    nonsense = ("", "[]", '{"response": {"userHandle": "OQ"}}', "{" * 2000, "\x00")
    for credential in nonsense:
        answer = client.post(path, {"credential": credential, "next": "/history/"})
        assert leads_to(answer) == page, credential
    says(client.get(page), 200, "This passkey was not accepted")
    tries = [client.post(path, {"credential": "{}"}).status_code for _ in range(6)]
    assert tries[-1] == 429

    mine = signed_in(reviewer)
    path = reverse("factor-passkey")
    assert mine.post(path, {"credential": "[]"}).status_code == 422
    assert not Authenticator.objects.exists()
