"""Which passwords are taken (line 44), and changing one's own."""

import re
import secrets
import time

import pytest
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client

from audit.models import Entry
from people.passwords import GuessablePasswordValidator, strength_of
from tests.integration.test_sessions import SAFARI, is_in, sign_in

pytestmark = pytest.mark.django_db

OLD, NEW = "correct horse battery", "kumquat zebra lint"


def problem_with(password, person):
    try:
        validate_password(password, person)
    except ValidationError as error:
        return error.messages
    return []


def change(client, **fields):
    return client.post("/people/me/password/", {"old": OLD, "new": NEW, "again": NEW, **fields})


@pytest.mark.proves("security 44")
@pytest.mark.parametrize(
    "password",
    [
        *("Password1234!", "P@ssw0rd2026!!", "Summer2026!!!", "Winter-2027-Winter", "iloveyou12345!", "letmeinplease"),
        *("qwertyuiop12", "1qaz2wsx3edc", "asdfghjkl;123", "yxcvbnm,.-123", "098765432109"),
        *("passwordpassword", "aaaaaaaaaaaaaaaa", "abababababababab", "dragon!dragon!1", "ana ana ana ana"),
        *("anaferreira2026", "Ferreira Ana 1990", "Yourteam12345", "F3rr31ra-2026!"),
        *("Countersign2026!", "Multimail!2025#", "countersigned1"),
    ],
)
def test_common_words_rows_of_keys_and_names_are_refused_however_dressed(reviewer, password):
    sentences = problem_with(password, reviewer)
    assert sentences
    assert all(password not in sentence for sentence in sentences)


@pytest.mark.proves("security 44")
@pytest.mark.parametrize(
    "password",
    [
        *("correct horse battery", "quiet river lantern", "trombone-walnut-fig", "kumquat zebra lint"),
        *(
            "Tr0ub4dor&3xyz",
            "ich mag keine grünen Wände",
            "пароль не скажу никому",
            "日本語の長い合言葉です夜の雨",
            " blanks at both ends ",
        ),
        "no digit and no sign at all",
    ],
)
def test_no_rule_asks_for_kinds_of_characters(reviewer, password):
    assert problem_with(password, reviewer) == []


@pytest.mark.proves("security 44")
@pytest.mark.parametrize(("length", "expected"), [(11, False), (12, True), (64, True), (256, True)])
def test_twelve_are_enough_and_many_are_taken(reviewer, length, expected):
    password = ("vQ7kz Rw2mLp9xTd" * 20)[:length]
    assert (problem_with(password, reviewer) == []) is expected
    client = sign_in(reviewer)
    assert (change(client, new=password, again=password).status_code == 302) is expected


def test_password_of_a_machine_is_hardly_ever_refused():
    weak = sum(strength_of(secrets.token_urlsafe(15)) < 10 for _ in range(500))
    assert weak == 0


def test_judging_takes_no_longer_for_a_password_without_end():
    begun = time.process_time()
    strength_of("ab1!" * 100_000)
    assert time.process_time() - begun < 0.5


def test_help_says_what_is_best_and_nothing_of_signs():
    assert "no sign or digit is needed" in GuessablePasswordValidator().get_help_text()


@pytest.mark.proves("security 44")
@pytest.mark.parametrize("path", ["/people/me/password/", "/accounts/reauthenticate/"])
def test_password_can_be_pasted_and_filled_in_by_a_program(signed_in, reviewer, path):
    page = signed_in(reviewer).get(path).content.decode()
    fields = re.findall(r'<input[^>]*type="password"[^>]*>', page)
    assert fields
    for field in fields:
        assert re.search(r'autocomplete="(current|new)-password"', field)
        assert not re.search(r"onpaste|oncopy|readonly", field)
    assert f'value="{reviewer.email}" autocomplete="username"' in page


def test_changed_password_opens_the_desk_and_the_old_one_does_not(reviewer):
    assert change(sign_in(reviewer))["Location"] == "/people/me/"
    tries = [Client().post("/accounts/login/", {"login": reviewer.email, "password": one}) for one in (OLD, NEW)]
    assert [answer.status_code == 302 for answer in tries] == [False, True]


@pytest.mark.proves("security 42")
def test_changing_the_password_ends_all_other_sessions_and_gives_this_one_another_id(reviewer):
    others, client = [sign_in(reviewer, SAFARI) for _ in range(2)], sign_in(reviewer)
    before = client.session.session_key
    change(client)
    # Ended at once, not only found to be of the old password when they ask.
    assert [one.session_key for one in Session.objects.all()] == [client.session.session_key]
    assert [is_in(one) for one in (*others, client)] == [False, False, True]
    assert client.session.session_key != before
    page = client.get("/people/me/sessions/").content.decode()
    assert page.count("This one") == 1
    assert "Safari" not in page


def test_change_of_a_password_stands_in_the_ledger_without_it(reviewer):
    change(sign_in(reviewer))
    entry = Entry.objects.get(action="person.password_changed")
    assert entry.actor_id == str(reviewer.pk)
    assert OLD not in str(entry.detail.fields)
    assert NEW not in str(entry.detail.fields)


@pytest.mark.parametrize(
    ("fields", "wrong", "sentence"),
    [
        ({"old": "not this"}, "old", "not the password that you have now"),
        ({"old": ""}, "old", "Type the password that you have now"),
        ({"again": "something else"}, "again", "not the same"),
        ({"new": "Password1234!", "again": "Password1234!"}, "new", "easy to guess"),
        ({"new": "short one", "again": "short one"}, "new", "at least 12"),
        ({"new": OLD, "again": OLD}, "new", "have already"),
        ({"new": "x" * 257, "again": "x" * 257}, "new", "at most 256"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_changed_or_shown(reviewer, fields, wrong, sentence):
    client = sign_in(reviewer)
    answer = change(client, **fields)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert re.search(rf'id="{wrong}"[^>]*aria-invalid="true"', page)
    assert NEW not in page
    reviewer.refresh_from_db()
    assert reviewer.check_password(OLD)
    assert is_in(client)


def test_whoever_has_no_password_is_told_so(signed_in, reviewer):
    reviewer.set_unusable_password()
    reviewer.save()
    client = signed_in(reviewer)
    assert "You have no password here" in client.get("/people/me/password/").content.decode()
    assert change(client).status_code == 200
    reviewer.refresh_from_db()
    assert not reviewer.has_usable_password()
