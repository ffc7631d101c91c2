"""Who a provider's token signs in: what it must have signed, and that an account stays
one subject's.
"""

import hmac
import time
from hashlib import sha256

import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.cache import cache
from django.test import Client

from audit.models import Entry, EntryDetail
from people.models import Person
from people.roles import deactivate, reactivate
from tests.factories import actor_of, make_person
from tests.integration.deciding import at_once
from tests.openid import CLIENT_ID, KEY, RSA_KEY, issuing, published, sign, spliced

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
        one.configure(settings)
        yield one


def who(client):
    """The key of who is signed in, or None."""
    return client.session.get("_auth_user_id")


def page_of(answer):
    return " ".join(answer.text.split())


def last_reason():
    return (
        EntryDetail.objects.filter(entry__action="person.sign_in_failed")
        .latest("entry")
        .fields["reason"]
    )


def test_account_is_reached_by_the_subject_that_it_was_linked_to_and_by_no_other(
    issuer, reviewer
):
    """Subject B was given Ana's address at the provider, after she left or by a
    mistake.
    """
    ana = Client()
    assert issuer.come_in(ana, sub="A")["Location"] == "/queue/"
    linked = EntryDetail.objects.get(entry__action="person.provider_linked")
    assert linked.entry.actor_id == str(reviewer.pk)
    assert linked.fields["subject"] == "A"
    assert linked.fields["issuer"] == issuer.url
    other = Client()
    answer = issuer.come_in(other, sub="B")
    assert answer.status_code == 403
    assert who(other) is None
    assert "belongs to another identity at Acme" in page_of(answer)
    assert last_reason() == "provider: another identity with the address of an account"
    # The subject counts, whatever its address is by now; the case of a subject does
    # too.
    assert issuer.come_in(other, sub="a").status_code == 403
    assert (
        issuer.come_in(
            other, sub="A", email="new@elsewhere.example", email_verified=False
        )["Location"]
        == "/queue/"
    )
    assert SocialAccount.objects.get().uid == "A"
    assert Entry.objects.filter(action="person.provider_linked").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_subjects_with_one_address_at_the_same_moment_one_is_linked(issuer):
    make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
    answers = at_once(
        *(lambda name=name: issuer.come_in(Client(), sub=name) for name in "AB")
    )
    assert sorted(answer.status_code for answer in answers) == [302, 403]
    assert SocialAccount.objects.count() == 1


def test_subject_of_another_issuer_is_somebody_else(
    issuer, settings, reviewer, second_reviewer
):
    issuer.come_in(Client(), sub="1")
    with issuing() as other:
        other.configure(settings)
        client = Client()
        assert (
            other.come_in(client, sub="1", email=second_reviewer.email)["Location"]
            == "/queue/"
        )
        assert who(client) == str(second_reviewer.pk)
        # An account may have a subject of each.
        client = Client()
        other.come_in(client, sub="2", email=reviewer.email)
        assert who(client) == str(reviewer.pk)
    assert SocialAccount.objects.filter(user=reviewer).count() == 2


def test_subject_of_a_deactivated_person_reaches_no_account_and_a_reactivated_one_is_linked_anew(
    issuer, reviewer, admin
):
    issuer.come_in(Client(), sub="A")
    actor = actor_of(admin)
    deactivate(actor=actor, person_id=reviewer.pk)
    for subject in ("A", "B"):
        client = Client()
        assert issuer.come_in(client, sub=subject).status_code == 403
        # Nor does it reach the account of somebody whose address it has now.
        assert issuer.come_in(client, sub="A", email=admin.email).status_code == 403
        assert who(client) is None
    reactivate(actor=actor, person_id=reviewer.pk)
    client = Client()
    issuer.come_in(client, sub="B")
    assert who(client) == str(reviewer.pk)
    assert issuer.come_in(Client(), sub="A").status_code == 403


def test_address_that_only_looks_the_same_links_nobody(issuer, reviewer):
    Person.objects.filter(pk=reviewer.pk).update(email="kim@yourteam.example")
    for claims in (
        {"email": "\N{KELVIN SIGN}im@yourteam.example"},
        {"email": ["kim@yourteam.example"]},
        {"email": "kim@yourteam.example\x00"},
        {"email": "kim@yourteam.example", "email_verified": "true"},
        {"email": "kim@yourteam.example", "email_verified": 1},
        {"email": "kim@yourteam.example", "email_verified": None},
    ):
        assert issuer.come_in(Client(), sub="A", **claims).status_code == 403, claims
    assert not SocialAccount.objects.exists()
    # Where the token has no address, the provider's user info is asked, which must be
    # about the same person.
    for sub, status in (("B", 401), ("A", 302)):
        issuer.answers["/userinfo"] = {
            "sub": sub,
            "email": " Kim@YourTeam.example",
            "email_verified": True,
        }
        assert (
            issuer.come_in(
                Client(), sub="A", email=None, email_verified=None
            ).status_code
            == status
        ), sub


def with_public_key_as_secret(claims):
    """HS256 with the key that everybody can fetch."""
    return spliced(
        {"alg": "HS256", "kid": "r1"},
        claims,
        lambda text: hmac.digest(PUBLIC_PEM, text, sha256),
    )


def tampered(claims):
    parts = sign(claims).split(".")
    return ".".join([parts[0], sign({**claims, "sub": "B"}).split(".")[1], parts[2]])


NOW = int(time.time())
SOON = NOW + HOUR
# What is said of each, and how it differs from a good one.
REFUSED = (
    (
        "algorithm",
        {
            "make": lambda claims: spliced(
                {"alg": "none", "kid": "k1"}, claims, lambda _: b""
            )
        },
    ),
    (
        "algorithm",
        {"make": lambda claims: spliced({"alg": "NONE"}, claims, lambda _: b"")},
    ),
    ("algorithm", {"make": with_public_key_as_secret}),
    (
        "algorithm",
        {"make": lambda claims: spliced({"kid": "k1"}, claims, lambda _: b"")},
    ),
    ("Signature verification failed", {"make": tampered}),
    ("Signature verification failed", {"make": lambda claims: sign(claims, OTHER_KEY)}),
    ("no key", {"make": lambda claims: sign(claims, kid="k9")}),
    ("no key", {"make": lambda claims: sign(claims, kid=None)}),
    ("no key", {"make": lambda claims: sign(claims, OTHER_KEY, kid="for-encryption")}),
    ("key", {"make": lambda claims: sign(claims, RSA_KEY, "PS256", kid="r1")}),
    ("key", {"make": lambda claims: sign(claims, kid="r1")}),
    ("there is none", {"make": lambda _: None}),
    ("there is none", {"make": lambda _: {"a": 1}}),
    ("segments", {"make": lambda _: "nonsense"}),
    ("issuer", {"iss": "https://evil.example"}),
    ("iss", {"iss": None}),
    ("Audience", {"aud": "another-client"}),
    ("aud", {"aud": None}),
    ("another client", {"aud": [CLIENT_ID, "another-client"]}),
    ("another client", {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"}),
    ("another client", {"azp": "another-client"}),
    ("another sign-in", {"nonce": "of-another-sign-in"}),
    ("nonce", {"nonce": None}),
    ("expired", {"exp": NOW - 300}),
    ("exp", {"exp": None}),
    ("exp", {"exp": "soon"}),
    ("not yet valid", {"iat": SOON}),
    ("not yet valid", {"nbf": SOON}),
    ("iat", {"iat": None}),
    ("Subject", {"sub": 7}),
    ("sub", {"sub": None}),
    ("0 characters", {"sub": ""}),
    ("192 characters. This desk accepts up to 191", {"sub": "s" * 192}),
    ("printable ASCII", {"sub": "A\x00"}),
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
        assert "Sign in another way" in page_of(answer)
    assert not SocialAccount.objects.exists()


def test_token_as_providers_make_them_is_accepted(issuer, reviewer):
    only_one = [published(KEY, "ES256")]
    without_algorithm = {
        name: value
        for name, value in published(RSA_KEY, "RS256", "r1").items()
        if name != "alg"
    }
    for keys, change in (
        (only_one, {"make": lambda claims: sign(claims, kid=None)}),
        (only_one, {"aud": [CLIENT_ID]}),
        (only_one, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}),
        (only_one, {"exp": int(time.time()) - 10, "iat": int(time.time()) + 10}),
        (
            [without_algorithm],
            {"make": lambda claims: sign(claims, RSA_KEY, "RS256", kid="r1")},
        ),
        (
            [without_algorithm],
            {"make": lambda claims: sign(claims, RSA_KEY, "PS256", kid="r1")},
        ),
        # Keys that change are fetched anew, and one that is gone does not count.
        (
            [published(OTHER_KEY, "ES256", "k2")],
            {"make": lambda claims: sign(claims, OTHER_KEY, kid="k2")},
        ),
    ):
        issuer.keys = ["no key", {"kty": "new", "use": "enc"}, *keys]
        assert issuer.come_in(Client(), **{"sub": "A", **change}).status_code == 302, (
            change
        )
    assert issuer.come_in(Client(), sub="A").status_code == 401


def test_provider_that_answers_with_something_else_is_explained_and_never_an_error_page(
    issuer, reviewer
):
    path = "/.well-known/openid-configuration"
    usual = issuer.answer(path, {})
    begin = "/accounts/login/provider/"
    for words, answer in (
        (
            "is that of another issuer, &#x27;https://evil.example&#x27;",
            {**usual, "issuer": "https://evil.example"},
        ),
        ("is that of another issuer", {**usual, "issuer": None}),
        (
            "its addresses must be https",
            {**usual, "authorization_endpoint": "http://evil.example/"},
        ),
        (
            "its addresses must be https",
            {**usual, "authorization_endpoint": "javascript:alert(1)"},
        ),
        (
            "its addresses must be https",
            {**usual, "token_endpoint": "http://10.0.0.1/"},
        ),
        ("its addresses must be https", {**usual, "jwks_uri": "http://[::2]/"}),
        ("its addresses must be https", {**usual, "jwks_uri": ["https://a.example"]}),
        ("its addresses must be https", {**usual, "jwks_uri": None}),
        ("without usable content", b"<html>"),
        ("without usable content", []),
        ("without usable content", b"[" * 60_000),
        ("without usable content", {**usual, "more": "x" * 80_000}),
    ):
        issuer.answers[path] = answer
        refused = Client().get(begin)
        assert (refused.status_code, words in page_of(refused)) == (502, True), (
            words,
            answer,
        )
    del issuer.answers[path]
    for place, answer in (
        ("/keys", []), ("/keys", {}), ("/keys", {"keys": "x"}), ("/keys", {"keys": [{"kty": [], "kid": "k1"}]}),
        ("/token", []), ("/token", 5), ("/token", ["access_token"]), ("/token", {"access_token": 5}),
        ("/token", b"[" * 60_000), ("/token", b"access_token=a"), ("/userinfo", []), ("/userinfo", b"<html>"),
    ):  # fmt: skip
        issuer.answers = {place: answer}
        client = Client()
        assert issuer.come_in(client, sub="A", email=None).status_code in (401, 502), (
            place,
            answer,
        )
        assert who(client) is None


def test_plain_http_issuer_elsewhere_is_not_even_asked(issuer, settings):
    settings.OIDC_ISSUER = issuer.url.replace("127.0.0.1", "login.acme.example")
    settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["provider_id"] = (
        settings.OIDC_ISSUER
    )
    answer = Client().get("/accounts/login/provider/")
    assert answer.status_code == 502
    assert "must be https" in page_of(answer)


def test_identity_is_confirmed_only_by_a_question_that_the_provider_asked_since(
    issuer, reviewer, signed_in
):
    now = int(time.time())
    for auth_time, is_fresh in (
        (None, False), (now - 120, False), (now + HOUR, False), ("now", False), (True, False), (float("nan"), False),
        (10**400, False), (now, True), (now - 10, True),
    ):  # fmt: skip
        client = signed_in(reviewer, minutes=11)
        answer = issuer.come_in(client, sub="A", auth_time=auth_time)
        assert answer.status_code == (302 if is_fresh else 401), auth_time
        assert (
            "did not say that it asked you again" in page_of(answer)
        ) is not is_fresh, auth_time
        assert is_confirmed(client) is is_fresh, auth_time


def test_signing_out_and_in_again_confirms_no_identity_where_the_provider_did_not_ask(
    issuer, reviewer
):
    now = int(time.time())
    for auth_time, is_fresh in (
        (None, False),
        (now - HOUR, False),
        (now + HOUR, False),
        (now - 30, True),
    ):
        client = Client()
        issuer.come_in(client, sub="A", auth_time=auth_time)
        assert who(client) == str(reviewer.pk)
        assert is_confirmed(client) is is_fresh, auth_time
        # Somebody else's question does not count for who is signed in here, wherever
        # they are refused.
        issuer.come_in(
            client,
            sub="stranger",
            email="eve@elsewhere.example",
            auth_time=int(time.time()),
        )
        assert who(client) == str(reviewer.pk), auth_time
        assert is_confirmed(client) == is_fresh, auth_time


def is_confirmed(client):
    """Whether a page that asks for a recent confirmation opens."""
    return client.get("/people/me/factors/app/").status_code == 200
