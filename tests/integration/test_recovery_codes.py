"""Recovery codes: shown once, stored as hashes, each valid once, also in concurrent use
(line 45).
"""

import hashlib
import re
from functools import partial

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from audit.models import Entry
from people.errors import FactorNotAllowed
from people.models import RecoveryCode
from people.sign_in import factors as recovery
from people.sign_in.factors import (
    RECOVERY_CODES,
    codes_of,
    make_recovery_codes,
    remove_factor,
    use_recovery_code,
)
from tests.factories import actor_of, make_person
from tests.integration.deciding import at_once
from tests.markup import leads_to
from tests.signing import code_now, give_app, sign_in

STEP = "/accounts/login/second/"


@pytest.fixture(autouse=True)
def _no_tries_yet():
    cache.clear()


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
    assert answer["Cache-Control"] == "no-store"
    assert hashed == [{"n": 2**14, "r": 8, "p": 1}] * RECOVERY_CODES
    page = client.get(reverse("factors")).text
    assert f"{RECOVERY_CODES} of {RECOVERY_CODES} left" in page
    stored = f"{list(RecoveryCode.objects.values())} {page}"
    for code in codes:
        assert code not in stored
        assert code.replace("-", "") not in stored
    assert Entry.objects.order_by("id").last().action == "person.recovery_codes_made"


def test_code_signs_in_once_and_is_noted(client, reviewer):
    give_app(reviewer)
    code = make_for(reviewer)[3]
    sign_in(client, reviewer)
    assert leads_to(client.post(STEP, {"code": code})) == "/queue/"
    assert client.session["_auth_user_id"] == str(reviewer.pk)
    assert Entry.objects.filter(action="person.recovery_code_used").count() == 1
    other = Client()
    sign_in(other, reviewer)
    assert other.post(STEP, {"code": code}).status_code == 422
    assert codes_of(reviewer.pk).left == RECOVERY_CODES - 1


@pytest.mark.django_db(transaction=True)
def test_code_that_several_try_at_once_is_taken_by_one():
    person = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    give_app(person)
    code = make_for(person)[0]
    taken = at_once(*[partial(use, person, code)] * 4)
    assert sorted(taken) == [False, False, False, True]
    assert Entry.objects.filter(action="person.recovery_code_used").count() == 1


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
