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
from people.accounts.forms import PasswordForm
from people.sign_in.passwords import GuessablePasswordValidator
from tests.integration.test_sessions import SAFARI, is_in, sign_in

pytestmark = pytest.mark.django_db

OLD, NEW = "correct horse battery", "kumquat zebra lint"
GUESSABLE = (
    *(
        "Password1234!",
        "P@ssw0rd2026!!",
        "Summer2026!!!",
        "Winter-2027-Winter",
        "iloveyou12345!",
        "letmeinplease",
    ),
    *("qwertyuiop12", "1qaz2wsx3edc", "asdfghjkl;123", "yxcvbnm,.-123", "098765432109"),
    *(
        "passwordpassword",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "dragon!dragon!1",
        "ana ana ana ana",
    ),
    *("anaferreira2026", "Ferreira Ana 1990", "Yourteam12345", "F3rr31ra-2026!"),
    *("Countersign2026!", "Multimail!2025#", "countersigned1"),
)
ACCEPTABLE = (
    *(
        "correct horse battery",
        "quiet river lantern",
        "trombone-walnut-fig",
        "kumquat zebra lint",
        "Tr0ub4dor&3xyz",
    ),
    *(
        "ich mag keine grünen Wände",
        "пароль не скажу никому",
        "日本語の長い合言葉です夜の雨",
    ),
    *(" blanks at both ends ", "no digit and no sign at all"),
)


def errors_of(password, person):
    try:
        validate_password(password, person)
    except ValidationError as error:
        return error.messages
    return []


def change(client, **fields):
    return client.post(
        "/people/me/password/", {"old": OLD, "new": NEW, "again": NEW, **fields}
    )


def test_common_words_rows_of_keys_and_names_are_refused_and_no_kind_of_character_is_asked_for(
    reviewer,
):
    errors = {
        password: errors_of(password, reviewer)
        for password in (*GUESSABLE, *ACCEPTABLE)
    }
    assert [password for password in GUESSABLE if not errors[password]] == []
    assert [password for password in ACCEPTABLE if errors[password]] == []
    assert [
        password
        for password in GUESSABLE
        if any(password in sentence for sentence in errors[password])
    ] == []
    assert (
        "digits and symbols are not needed"
        in GuessablePasswordValidator().get_help_text()
    )


def test_twelve_characters_are_enough_and_256_are_taken(reviewer):
    long = "vQ7kz Rw2mLp9xTd" * 20
    assert [
        errors_of(long[:length], reviewer) == [] for length in (11, 12, 64, 256)
    ] == [False, True, True, True]
    assert (
        change(sign_in(reviewer), new=long[:256], again=long[:256]).status_code == 302
    )


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
        page = client.get(path).content.decode()
        fields = re.findall(r'<input[^>]*type="password"[^>]*>', page)
        assert fields
        for field in fields:
            assert re.search(r'autocomplete="(current|new)-password"', field)
            assert not re.search(r"onpaste|oncopy|readonly", field)
        assert f'value="{reviewer.email}" autocomplete="username"' in page


def test_changing_the_password_ends_all_other_sessions_and_gives_this_one_another_id(
    reviewer,
):
    others, client = [sign_in(reviewer, SAFARI) for _ in range(2)], sign_in(reviewer)
    before = client.session.session_key
    assert change(client)["Location"] == "/people/me/"
    # Deleted at once, not only rejected at the next request.
    assert [one.session_key for one in Session.objects.all()] == [
        client.session.session_key
    ]
    assert [is_in(one) for one in (*others, client)] == [False, False, True]
    assert client.session.session_key != before
    page = client.get("/people/me/sessions/").content.decode()
    assert (page.count("This browser"), "Safari" in page) == (1, False)
    tries = [
        Client().post("/accounts/login/", {"login": reviewer.email, "password": one})
        for one in (OLD, NEW)
    ]
    assert [answer.status_code == 302 for answer in tries] == [False, True]
    entry = Entry.objects.get(action="person.password_changed")
    assert entry.actor_id == str(reviewer.pk)
    assert (OLD in str(entry.detail.fields), NEW in str(entry.detail.fields)) == (
        False,
        False,
    )


def test_error_is_shown_at_its_field_and_nothing_is_changed_or_shown(reviewer):
    for fields, wrong, sentence in (
        ({"old": "not this"}, "old", "not your current password"),
        ({"again": "something else"}, "again", "not the same"),
        ({"new": "Password1234!", "again": "Password1234!"}, "new", "easy to guess"),
        ({"new": "short one", "again": "short one"}, "new", "at least 12"),
        ({"new": OLD, "again": OLD}, "new", "current password"),
        ({"new": "x" * 257, "again": "x" * 257}, "new", "at most 256"),
    ):
        field, error = first_error(
            PasswordForm(
                {"old": OLD, "new": NEW, "again": NEW, **fields}, person=reviewer
            )
        )
        assert (field, sentence in error) == (wrong, True), sentence
    client = sign_in(reviewer)
    answer = change(client, old="not this")
    page = answer.content.decode()
    assert (answer.status_code, "not your current password" in page) == (422, True)
    assert re.search(r'id="old"[^>]*aria-invalid="true"', page)
    assert NEW not in page
    reviewer.refresh_from_db()
    assert reviewer.check_password(OLD)
    assert is_in(client)


@pytest.mark.slow
def test_person_without_a_password_sees_a_notice(signed_in, reviewer):
    reviewer.set_unusable_password()
    reviewer.save()
    client = signed_in(reviewer)
    assert (
        "You have no password here"
        in client.get("/people/me/password/").content.decode()
    )
    assert change(client).status_code == 200
    reviewer.refresh_from_db()
    assert not reviewer.has_usable_password()
