"""The signature of MultiMail's webhooks (contract section 6.4): HMAC-SHA256 over the exact bytes of the body."""

import hashlib
import hmac

HEADER = "X-MultiMail-Signature"


def sign(body: bytes, secret: str) -> str:
    """Return the header's value for `body`: `sha256=` and the hex digest; the whole secret text is the key."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str, secrets: dict[str, str]) -> str:
    """Return the name of the secret that signed `body`, or an empty text.

    `secrets` maps a name (current, previous) to its text; empty texts never match. The hex may stand with or without
    its prefix and in any case. All comparisons are of bytes and take constant time.
    """
    given = header.strip()
    if given[:7].lower() == "sha256=":
        given = given[7:]
    given_bytes = given.lower().encode("utf-8", "surrogateescape")
    found = ""
    for name, secret in secrets.items():
        expected = sign(body, secret)[7:].encode()
        if hmac.compare_digest(expected, given_bytes) and secret and not found:
            found = name
    return found
