"""Which passwords are accepted (line 44), and changing one's own."""

import re
from unicodedata import normalize

from django import forms
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from tests.integration.test_sessions import SAFARI, is_in, sign_in
from tests.ledger import latest_details
from tests.markup import leads_to

OLD = "correct horse battery"
NEW = "kumquat zebra lint"
GUESSABLE = (
    "Password1234!",
    "P@ssw0rd2026!!",
    "Summer2026!!!",
    "iloveyou12345!",
    "qwertyuiop12",
    "1qaz2wsx3edc",
    "yxcvbnm,.-123",
    "098765432109",
    "passwordpassword",
    "aaaaaaaaaaaaaaaa",
    "abababababababab",
    "ana ana ana ana",
    "Ferreira Ana 1990",
    "Yourteam12345",
    "F3rr31ra-2026!",
    "Countersign2026!",
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
    typed = {"old": OLD, "password": NEW, "password_again": NEW, **fields}
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


def test_twelve_characters_are_enough_and_256_are_taken(reviewer):
    long = "vQ7kz Rw2mLp9xTd" * 16
    assert errors_of(long[:11], reviewer)
    assert errors_of(long[:12], reviewer) == []
    assert (
        change(sign_in(reviewer), password=long, password_again=long).status_code == 302
    )


def subclasses(kind):
    """All classes that inherit from this one."""
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def test_no_browser_fills_a_secret_with_the_password_of_the_desk():
    pages = [
        page.read_text() for page in (settings.BASE_DIR / "templates").rglob("*.html")
    ]
    fields = re.findall(r'type="password"[^>]*>', "".join(pages))
    # Loads the pages with their forms.
    reverse("home")
    widgets = [
        field.widget
        for form in subclasses(forms.Form)
        for field in form.base_fields.values()
    ]
    fields += [
        one.render("secret", "")
        for one in widgets
        if isinstance(one, forms.PasswordInput)
    ]
    assert len(fields) > 10
    for field in fields:
        # Browsers ignore "off" here.
        assert re.search(r'autocomplete="(current|new)-password"', field), field


def test_password_is_the_same_in_one_character_or_in_two(reviewer):
    one, two = (normalize(form, "Grüße aus Köln am Rhein") for form in ("NFC", "NFD"))
    for stored, typed in ((one, two), (two, one), (two, two)):
        reviewer.set_password(stored)
        assert reviewer.check_password(typed)
    # One that was stored before it was normalized.
    reviewer.password = make_password(two)
    assert reviewer.check_password(two)
    assert not reviewer.check_password(two[:-1])


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
    assert "Safari" not in client.get("/people/me/sessions/").text
    for password, status in ((OLD, 200), (NEW, 302)):
        typed = {"login": reviewer.email, "password": password}
        assert Client().post("/accounts/login/", typed).status_code == status
    details = str(latest_details("person.password_changed"))
    assert OLD not in details
    assert NEW not in details
