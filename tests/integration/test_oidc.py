"""Sign-in through a provider: who is accepted, what their token must have signed, that
an account stays one subject's, and that it bypasses no second factor.
"""

import hmac
import time
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.cache import cache
from django.test import Client

from audit.models import Entry
from people.roles import deactivate, reactivate
from people.sign_in.provider import GuardedSession
from tests.factories import actor_of, change_row, make_person
from tests.integration.deciding import at_once
from tests.ledger import latest_details
from tests.markup import leads_to, says
from tests.openid import (
    BACK,
    BEGIN,
    CLIENT_ID,
    KEY,
    RSA_KEY,
    issuing,
    published,
    sign,
    spliced,
    trust,
)
from tests.signing import code_now, give_app

OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
)
HOUR = 3600


@pytest.fixture
def issuer(settings):
    """A provider that the desk trusts."""
    cache.clear()
    with issuing() as one:
        trust(settings, one.url)
        yield one


def who(client):
    """The key of who is signed in, or None."""
    return client.session.get("_auth_user_id")


def last_reason():
    return latest_details("person.sign_in_failed")["reason"]


def test_verified_address_of_an_active_person_signs_in(client, issuer, reviewer):
    query = issuer.begin(client, sub="A", then="/history/")
    assert leads_to(client.get(BACK, query)) == "/history/"
    assert who(client) == str(reviewer.pk)
    entry = Entry.objects.get(action="person.signed_in")
    assert entry.actor_id == str(reviewer.pk)


def test_nobody_of_the_desk_is_refused_and_sees_whom_to_ask(client, issuer, reviewer):
    for claims, words in (
        ({"email": "eve@elsewhere.example"}, "Ask an admin of this desk"),
        ({"email_verified": False}, "has not verified your address"),
    ):
        says(issuer.come_in(client, sub="A", **claims), 403, words)
        assert last_reason() == "provider: nobody of the desk"
    query = issuer.begin(client, sub="A")
    declined = client.get(BACK, {"state": query["state"], "error": "access_denied"})
    says(declined, 401, "Sign in another way")
    assert who(client) is None
    assert not SocialAccount.objects.exists()


def test_factor_at_the_desk_is_asked_after_the_provider_of_which_nothing_is_kept(
    client, issuer, reviewer
):
    give_app(reviewer)
    assert leads_to(issuer.come_in(client, sub="A")) == "/accounts/login/second/"
    assert who(client) is None
    # Neither the provider's claims nor its token.
    stored = str(dict(client.session.items()))
    assert "email_verified" not in stored
    assert "'token'" not in stored
    assert SocialAccount.objects.get().extra_data == {}
    client.post("/accounts/login/second/", {"code": code_now()})
    assert who(client) == str(reviewer.pk)


def test_way_to_the_provider_carries_state_nonce_and_a_challenge_and_nothing_from_the_address(
    client, issuer, reviewer, signed_in
):
    def asked(**query):
        """The query of the provider's address."""
        address = urlsplit(leads_to(client.get(BEGIN, query)))
        return {name: text for name, [text] in parse_qs(address.query).items()}

    query = asked(process="connect", scope="admin", auth_params="prompt=none")
    assert query["code_challenge_method"] == "S256"
    assert all(len(query[name]) >= 16 for name in ("state", "nonce", "code_challenge"))
    assert set(query["scope"].split()) == {"openid", "profile", "email"}
    assert "prompt" not in query
    # Not the host of this request: a proxy may have changed it.
    assert query["redirect_uri"] == f"http://127.0.0.1:8000{BACK}"
    # A link of another site asks first, and a signed-in person is sent to the provider
    # again.
    elsewhere = client.get(BEGIN, headers={"Sec-Fetch-Site": "cross-site"})
    says(elsewhere, 200, "Another site sent you here")
    signed_in(reviewer, minutes=11)
    query = asked()
    assert (query["prompt"], query["max_age"]) == ("login", "0")


def test_answer_that_was_not_asked_for_here_or_counts_no_more_signs_nobody_in(
    client, issuer, reviewer
):
    # In response to a request of another browser.
    assert client.get(BACK, issuer.begin(Client(), sub="A")).status_code == 401
    query = issuer.begin(client, sub="A")
    client.get(BACK, query)
    client.post("/accounts/logout/")
    assert client.get(BACK, query).status_code == 401
    assert who(client) is None
    # It redirects to no other site.
    query = issuer.begin(client, sub="A", then="https://elsewhere.example/")
    assert leads_to(client.get(BACK, query)) == "/queue/"


def test_account_is_reached_by_the_subject_that_it_was_linked_to_and_by_no_other(
    issuer, reviewer
):
    """Subject B was given Ana's address at the provider, after she left or by a
    mistake.
    """
    assert leads_to(issuer.come_in(Client(), sub="A")) == "/queue/"
    linked = latest_details("person.provider_linked")
    assert (linked["subject"], linked["issuer"]) == ("A", issuer.url)
    other = Client()
    answer = issuer.come_in(other, sub="B")
    says(answer, 403, "belongs to another identity at Acme")
    # The subject counts, whatever its address is by now; the case of a subject does
    # too.
    assert issuer.come_in(other, sub="a").status_code == 403
    moved = {"email": "new@elsewhere.example", "email_verified": False}
    assert leads_to(issuer.come_in(other, sub="A", **moved)) == "/queue/"
    assert SocialAccount.objects.get().uid == "A"
    assert Entry.objects.filter(action="person.provider_linked").count() == 1


def test_subject_of_a_deactivated_person_reaches_no_account_and_a_reactivated_one_is_linked_anew(
    issuer, reviewer, admin
):
    issuer.come_in(Client(), sub="A")
    actor = actor_of(admin)
    deactivate(actor=actor, person_id=reviewer.pk)
    # Nor does it reach the account of somebody whose address it has now.
    for subject, email in (
        ("A", reviewer.email),
        ("B", reviewer.email),
        ("A", admin.email),
    ):
        answer = issuer.come_in(Client(), sub=subject, email=email)
        assert answer.status_code == 403, (subject, email)
    reactivate(actor=actor, person_id=reviewer.pk)
    client = Client()
    issuer.come_in(client, sub="B")
    assert who(client) == str(reviewer.pk)
    assert issuer.come_in(Client(), sub="A").status_code == 403


def test_address_that_only_looks_the_same_links_nobody(issuer, reviewer):
    change_row(reviewer, email="kim@yourteam.example")
    for claims in (
        {"email": "\N{KELVIN SIGN}im@yourteam.example"},
        {"email": ["kim@yourteam.example"]},
        {"email": "kim@yourteam.example", "email_verified": "false"},
        {"email": "kim@yourteam.example", "email_verified": 1},
    ):
        assert issuer.come_in(Client(), sub="A", **claims).status_code == 403, claims
    assert not SocialAccount.objects.exists()
    # Where the token has no address, the provider's user info is asked, which must be
    # about the same person.
    without = {"sub": "A", "email": None, "email_verified": None}
    for sub, status in (("B", 401), ("A", 302)):
        issuer.answers["/userinfo"] = {
            "sub": sub,
            "email": " Kim@YourTeam.example",
            # As some providers write it.
            "email_verified": "true",
        }
        assert issuer.come_in(Client(), **without).status_code == status, sub


def with_public_key_as_secret(claims):
    """HS256 with the key that everybody can fetch."""
    return spliced(
        {"alg": "HS256", "kid": "r1"},
        claims,
        lambda text: hmac.digest(PUBLIC_PEM, text, sha256),
    )


def unsigned(claims):
    return spliced({"alg": "none", "kid": "k1"}, claims, lambda _: b"")


NOW = int(time.time())
# What is said of each, and how it differs from a good one.
REFUSED = (
    ("algorithm", {"make": unsigned}),
    ("algorithm", {"make": with_public_key_as_secret}),
    ("Signature verification failed", {"make": lambda claims: sign(claims, OTHER_KEY)}),
    ("no key", {"make": lambda claims: sign(claims, OTHER_KEY, kid="for-encryption")}),
    ("issuer", {"iss": "https://evil.example"}),
    ("Audience", {"aud": "another-client"}),
    ("another client", {"aud": [CLIENT_ID, "another-client"]}),
    ("another sign-in", {"nonce": "of-another-sign-in"}),
    ("nonce", {"nonce": None}),
    ("expired", {"exp": NOW - 300}),
    ("exp", {"exp": None}),
    ("not yet valid", {"iat": NOW + HOUR}),
    ("sub", {"sub": None}),
    ("192 characters. This desk accepts up to 191", {"sub": "s" * 192}),
    ("printable ASCII", {"sub": "\N{CYRILLIC CAPITAL LETTER A}"}),
)


def test_token_that_the_issuer_did_not_sign_for_this_sign_in_is_refused_with_a_sentence(
    issuer, reviewer
):
    issuer.keys += [
        published(RSA_KEY, "RS256", "r1"),
        published(OTHER_KEY, "ES256", "for-encryption", use="enc"),
    ]
    for words, change in REFUSED:
        client = Client()
        answer = issuer.come_in(client, **{"sub": "A", **change})
        assert (answer.status_code, who(client)) == (401, None), (words, change)
        assert words in last_reason(), (words, change)
    assert not SocialAccount.objects.exists()


@pytest.mark.slow
def test_token_as_providers_make_them_is_accepted(issuer, reviewer):
    only_one = [published(KEY, "ES256")]
    rsa = published(RSA_KEY, "RS256", "r1")
    del rsa["alg"]
    for keys, change in (
        (only_one, {"make": lambda claims: sign(claims, kid=None)}),
        (only_one, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}),
        (only_one, {"exp": int(time.time()) - 10, "iat": int(time.time()) + 10}),
        ([rsa], {"make": lambda claims: sign(claims, RSA_KEY, "PS256", kid="r1")}),
        # Keys that change are fetched anew, and one that is gone does not count.
        (
            [published(OTHER_KEY, "ES256", "k2")],
            {"make": lambda claims: sign(claims, OTHER_KEY, kid="k2")},
        ),
    ):
        issuer.keys = ["no key", {"kty": "new", "use": "enc"}, *keys]
        answer = issuer.come_in(Client(), **{"sub": "A", **change})
        assert answer.status_code == 302, change
    assert issuer.come_in(Client(), sub="A").status_code == 401


def test_provider_that_is_private_or_not_confidential_is_not_even_asked(
    issuer, settings, client
):
    settings.OUTGOING_ALLOW = []
    cache.clear()
    says(client.get(BEGIN), 502, "Sign-in failed")
    with pytest.raises(requests.ConnectionError), GuardedSession() as session:
        session.request("GET", "https://127.0.0.1:1/")
    trust(settings, issuer.url.replace("127.0.0.1", "login.acme.example"))
    says(client.get(BEGIN), 502, "must be https")


@pytest.mark.parametrize(
    "is_signed_in", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_identity_is_confirmed_only_by_a_question_that_the_provider_asked_since(
    issuer, reviewer, signed_in, is_signed_in
):
    now = int(time.time())
    for auth_time, is_fresh in (
        (None, False),
        (now - HOUR, False),
        (now + HOUR, False),
        (True, False),
        (float("nan"), False),
        (10**400, False),
        (now - 10, True),
    ):
        client = signed_in(reviewer, minutes=11) if is_signed_in else Client()
        answer = issuer.come_in(client, sub="A", auth_time=auth_time)
        # Signing out and in again confirms no identity either.
        accepted = is_fresh or not is_signed_in
        assert answer.status_code == (302 if accepted else 401), auth_time
        assert is_confirmed(client) is is_fresh, auth_time
    # Somebody else's question does not count for who is signed in here.
    client = signed_in(reviewer, minutes=11)
    issuer.come_in(client, sub="stranger", email="eve@elsewhere.example", auth_time=now)
    assert who(client) == str(reviewer.pk)
    assert not is_confirmed(client)
    # What waits in the session for the confirmation is still there after it.
    session = client.session
    session["waits"] = "an act"
    session.save()
    issuer.come_in(client, sub="A", auth_time=now)
    assert client.session["waits"] == "an act"
    assert latest_details("person.reauthenticated")["by"] == "socialaccount"


def is_confirmed(client):
    """Whether a page that asks for a recent confirmation opens."""
    return client.get("/people/me/factors/app/").status_code == 200


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_two_subjects_with_one_address_at_the_same_moment_one_is_linked(issuer):
    make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    answers = at_once(
        *(lambda name=name: issuer.come_in(Client(), sub=name) for name in "AB")
    )
    assert sorted(answer.status_code for answer in answers) == [302, 403]
    assert SocialAccount.objects.count() == 1


@pytest.mark.slow
def test_subject_of_another_issuer_is_somebody_else(
    issuer, settings, reviewer, second_reviewer
):
    issuer.come_in(Client(), sub="1")
    with issuing() as other:
        trust(settings, other.url)
        # An account may have a subject of each.
        for subject, person in (("1", second_reviewer), ("2", reviewer)):
            client = Client()
            other.come_in(client, sub=subject, email=person.email)
            assert who(client) == str(person.pk)
    assert SocialAccount.objects.filter(user=reviewer).count() == 2
