"""Which passwords are accepted (line 44), and changing one's own."""

import re
import time

import pytest
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client

from audit.models import Entry
from common.forms import first_error
from people.accounts.views import PasswordForm
from people.sign_in.passwords import GuessablePasswordValidator
from tests.integration.test_sessions import SAFARI, is_in, sign_in
from tests.markup import leads_to, says

OLD = "correct horse battery"
NEW = "kumquat zebra lint"
GUESSABLE = (
    "Password1234!",
    "P@ssw0rd2026!!",
    "Summer2026!!!",
    "Winter-2027-Winter",
    "iloveyou12345!",
    "letmeinplease",
    "qwertyuiop12",
    "1qaz2wsx3edc",
    "asdfghjkl;123",
    "yxcvbnm,.-123",
    "098765432109",
    "passwordpassword",
    "aaaaaaaaaaaaaaaa",
    "abababababababab",
    "dragon!dragon!1",
    "ana ana ana ana",
    "anaferreira2026",
    "Ferreira Ana 1990",
    "Yourteam12345",
    "F3rr31ra-2026!",
    "Countersign2026!",
    "Multimail!2025#",
    "countersigned1",
)
ACCEPTABLE = (
    "correct horse battery",
    "quiet river lantern",
    "trombone-walnut-fig",
    "kumquat zebra lint",
    "Tr0ub4dor&3xyz",
    "ich mag keine grünen Wände",
    "пароль не скажу никому",
    "日本語の長い合言葉です夜の雨",
    " blanks at both ends ",
    "no digit and no sign at all",
)


def errors_of(password, person):
    try:
        validate_password(password, person)
    except ValidationError as error:
        return error.messages
    return []


def change(client, **fields):
    typed = {"old": OLD, "new": NEW, "again": NEW, **fields}
    return client.post("/people/me/password/", typed)


def test_common_words_rows_of_keys_and_names_are_refused_and_no_kind_of_character_is_asked_for(
    reviewer,
):
    for password in GUESSABLE:
        errors = errors_of(password, reviewer)
        assert errors, password
        assert password not in str(errors)
    for password in ACCEPTABLE:
        assert errors_of(password, reviewer) == [], password
    advice = GuessablePasswordValidator().get_help_text()
    assert "digits and symbols are not needed" in advice


def test_twelve_characters_are_enough_and_256_are_taken(reviewer):
    long = "vQ7kz Rw2mLp9xTd" * 16
    assert errors_of(long[:11], reviewer)
    for length in (12, 64, 256):
        assert errors_of(long[:length], reviewer) == [], length
    assert change(sign_in(reviewer), new=long, again=long).status_code == 302


@pytest.mark.slow
def test_judging_takes_no_longer_for_a_password_without_end():
    def cost(length):
        begun = time.process_time()
        with pytest.raises(ValidationError):
            GuessablePasswordValidator().validate("ab1!" * length)
        return time.process_time() - begun

    short, long = (min(cost(length) for _ in range(3)) for length in (100, 100_000))
    assert long < 24 * max(short, 0.001)


def test_password_can_be_pasted_and_filled_in_by_a_program(signed_in, reviewer):
    client = signed_in(reviewer)
    for path in ("/people/me/password/", "/accounts/reauthenticate/"):
        page = client.get(path).text
        fields = re.findall(r'<input[^>]*type="password"[^>]*>', page)
        assert fields
        for field in fields:
            assert re.search(r'autocomplete="(current|new)-password"', field)
            assert not re.search(r"onpaste|oncopy|readonly", field)
        assert f'value="{reviewer.email}" autocomplete="username"' in page


def test_changing_the_password_ends_all_other_sessions_and_gives_this_one_another_id(
    reviewer,
):
    other = sign_in(reviewer, SAFARI)
    client = sign_in(reviewer)
    before = client.session.session_key
    assert leads_to(change(client)) == "/people/me/"
    # Deleted at once, not only rejected at the next request.
    key = client.session.session_key
    assert Session.objects.get().session_key == key != before
    assert not is_in(other)
    assert is_in(client)
    page = client.get("/people/me/sessions/").text
    assert page.count("This browser") == 1
    assert "Safari" not in page
    for password, status in ((OLD, 200), (NEW, 302)):
        typed = {"login": reviewer.email, "password": password}
        assert Client().post("/accounts/login/", typed).status_code == status
    entry = Entry.objects.get(action="person.password_changed")
    assert entry.actor_id == str(reviewer.pk)
    assert not re.search(f"{OLD}|{NEW}", str(entry.detail.fields))


def test_error_is_shown_at_its_field_and_nothing_is_changed_or_shown(reviewer):
    easy = "Password1234!"
    short = "short one"
    long = "x" * 257
    for fields, wrong, sentence in (
        ({"old": "not this"}, "old", "not your current password"),
        ({"again": "something else"}, "again", "not the same"),
        ({"new": easy, "again": easy}, "new", "easy to guess"),
        ({"new": short, "again": short}, "new", "at least 12"),
        ({"new": OLD, "again": OLD}, "new", "current password"),
        ({"new": long, "again": long}, "new", "at most 256"),
    ):
        typed = {"old": OLD, "new": NEW, "again": NEW, **fields}
        field, error = first_error(PasswordForm(typed, person=reviewer))
        assert field == wrong, sentence
        assert sentence in error, sentence
    client = sign_in(reviewer)
    answer = change(client, old="not this")
    says(answer, 422, "not your current password")
    assert re.search(r'id="old"[^>]*aria-invalid="true"', answer.text)
    assert NEW not in answer.text
    reviewer.refresh_from_db()
    assert reviewer.check_password(OLD)
    assert is_in(client)


@pytest.mark.slow
def test_person_without_a_password_sees_a_notice(signed_in, reviewer):
    reviewer.set_unusable_password()
    reviewer.save()
    client = signed_in(reviewer)
    assert "You have no password here" in client.get("/people/me/password/").text
    assert change(client).status_code == 200
    reviewer.refresh_from_db()
    assert not reviewer.has_usable_password()
