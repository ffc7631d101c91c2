"""Passkeys: an answer counts once, in the session that asked, soon, and from this
desk's own pages (line 45).
"""

import json
import re
from html import unescape

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from people.sign_in.passkeys import CHALLENGE_SECONDS
from tests.passkeys import Device
from tests.signing import give_app, resume, sign_in

HERE = "http://localhost"
LOGIN = "/accounts/login/passkey/"
STEP = "/accounts/login/second/"
AGAIN = "/accounts/reauthenticate/passkey/"
ELSEWHERE = (
    "https://localhost",
    "http://localhost:8001",
    "https://evil.example",
    "null",
)


@pytest.fixture(autouse=True)
def _no_tries_yet():
    cache.clear()


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
    if path == LOGIN:
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
    if path == LOGIN:
        return client, is_in
    if path == STEP:
        sign_in(client, person)
        return client, is_in
    resume(client, person, minutes=11)
    return client, lambda one: one.get(reverse("factor-app")).status_code == 200


@pytest.mark.parametrize("path", [LOGIN, STEP, AGAIN])
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
    if path == LOGIN:
        # It counts once.
        client = browser()
        answer = device.use(options_of(client, path), origin=HERE)
        for is_first in (True, False):
            post(client, path, answer)
            assert is_in(client) is is_first
            client.post("/accounts/logout/")


def test_passkey_of_somebody_else_signs_nobody_else_in(device, second_reviewer):
    give_app(second_reviewer)
    theirs = Device()
    client = resume(browser(), second_reviewer)
    path = reverse("factor-passkey")
    post(client, path, theirs.make(options_of(client, path), origin=HERE))
    # With the right name, and the other person's passkey.
    for person, user in ((theirs, device.user), (device, theirs.user)):
        mine = person.user
        person.user = user
        client = browser()
        post(client, LOGIN, person.use(options_of(client, LOGIN), origin=HERE))
        assert not is_in(client)
        person.user = mine


def test_new_passkey_answers_its_own_challenge_once_soon_and_from_this_origin(reviewer):
    path = reverse("factor-passkey")
    for change in ("another session", "late", *ELSEWHERE):
        client = resume(browser(), reviewer)
        options = options_of(client, path)
        if change == "another session":
            options = options_of(resume(browser(), reviewer), path)
        if change == "late":
            make_older(client)
        answer = post(
            client,
            path,
            Device().make(options, origin=change if change in ELSEWHERE else HERE),
        )
        assert answer.status_code == 422, change
        assert Authenticator.objects.count() == 0, change
    client = resume(browser(), reviewer)
    answer = Device().make(options_of(client, path), origin=HERE)
    assert [post(client, path, answer).status_code for _ in range(2)] == [302, 422]
    assert Authenticator.objects.count() == 1
