"""Signatures over the raw body: what verifies, and that nothing else does."""

import pytest

from upstream.signatures import sign, verify

BODY = '{"subject": "Grüße"}'.encode()
SECRETS = {"current": "whsec_new", "previous": "whsec_old"}


@pytest.mark.parametrize("secret", ["current", "previous"])
def test_signature_names_the_secret_that_made_it(secret):
    assert verify(BODY, sign(BODY, SECRETS[secret]), SECRETS) == secret


@pytest.mark.parametrize(
    "form", [lambda s: s[7:], str.upper, lambda s: f"  {s} ", lambda s: s.replace("sha256", "SHA256")]
)
def test_prefix_and_case_do_not_matter(form):
    assert verify(BODY, form(sign(BODY, "whsec_new")), SECRETS) == "current"


@pytest.mark.parametrize(
    "header",
    ["", "sha256=", "sha1=" + "0" * 40, "sha256=zz", "sha256=" + "0" * 64, "ключ", "\udcff", sign(BODY, "other")],
)
def test_anything_else_is_refused(header):
    assert verify(BODY, header, SECRETS) == ""


def test_changed_body_is_refused():
    assert verify(BODY + b" ", sign(BODY, "whsec_new"), SECRETS) == ""


def test_no_secret_configured_refuses_even_a_signature_of_nothing():
    assert verify(BODY, sign(BODY, ""), {"current": "", "previous": ""}) == ""
