"""Signatures over the raw body: what verifies, and that nothing else does."""

from upstream.signatures import sign, verify

BODY = '{"subject": "Grüße"}'.encode()
SECRETS = {"current": "whsec_new", "previous": "whsec_old"}


def test_signature_names_the_secret_that_made_it():
    assert {name: verify(BODY, sign(BODY, secret), SECRETS) for name, secret in SECRETS.items()} == {
        "current": "current", "previous": "previous",
    }  # fmt: skip


def test_prefix_and_case_do_not_matter():
    made = sign(BODY, "whsec_new")
    for header in (
        made[7:],
        made.upper(),
        f"  {made} ",
        made.replace("sha256", "SHA256"),
    ):
        assert verify(BODY, header, SECRETS) == "current", header


def test_anything_else_is_refused():
    headers = [
        "",
        "sha256=",
        "sha1=" + "0" * 40,
        "sha256=zz",
        "sha256=" + "0" * 64,
        "ключ",
        "\udcff",
    ]
    assert [
        one
        for one in (*headers, sign(BODY, "other"))
        if verify(BODY, one, SECRETS) != ""
    ] == []
    assert verify(BODY + b" ", sign(BODY, "whsec_new"), SECRETS) == ""
    # Without a secret not even a signature with none.
    assert verify(BODY, sign(BODY, ""), {"current": "", "previous": ""}) == ""
