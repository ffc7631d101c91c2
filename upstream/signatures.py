"""The signature of MultiMail's webhooks (docs/multimail.md, Webhooks): HMAC-SHA256 over
the exact bytes of the body.
"""

import hmac

HEADER = "X-MultiMail-Signature"
_PREFIX = "sha256="


def sign(body: bytes, secret: str) -> str:
    """Return the header's value for `body`: `sha256=` and the hex digest; the whole
    secret text is the key.
    """
    return _PREFIX + hmac.digest(secret.encode(), body, "sha256").hex()


def verify(body: bytes, header: str, secrets: dict[str, str]) -> str:
    """Return the name of the secret that signed `body`, or an empty text.

    `secrets` maps a name (current, previous) to its text; empty texts never match. The
    hex may stand with or without its prefix and in any case. All comparisons are of
    bytes and take constant time.
    """
    digest = header.strip()
    if digest[: len(_PREFIX)].lower() == _PREFIX:
        digest = digest[len(_PREFIX) :]
    digest_bytes = digest.lower().encode("utf-8", "surrogateescape")
    found = ""
    for name, secret in secrets.items():
        expected = sign(body, secret)[len(_PREFIX) :].encode()
        if hmac.compare_digest(expected, digest_bytes) and secret and not found:
            found = name
    return found
