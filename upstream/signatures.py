"""Makes and verifies the signature of MultiMail's webhooks: HMAC-SHA256 over the exact
bytes of the body (docs/multimail.md, Webhooks).
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
    """Return the name of the secret that signed `body`; empty if none did.

    `secrets` maps a name (current, previous) to the secret; an empty secret never
    matches. `header` may have the prefix or not, and its hex digits may be in upper or
    lower case. Comparing takes the same time whether the digests are equal or not.
    """
    digest = header.strip()
    if digest[: len(_PREFIX)].lower() == _PREFIX:
        digest = digest[len(_PREFIX) :]
    digest_bytes = digest.lower().encode("utf-8", "surrogateescape")
    matching_name = ""
    for name, secret in secrets.items():
        expected = sign(body, secret)[len(_PREFIX) :].encode()
        if hmac.compare_digest(expected, digest_bytes) and secret and not matching_name:
            matching_name = name
    return matching_name
