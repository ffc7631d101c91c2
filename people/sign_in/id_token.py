"""Verifies the id token in which an OpenID Connect provider says who somebody is
(OpenID Connect Core 1.0, section 3.1.3.7).
"""

from collections.abc import Mapping
from typing import Any

import jwt

# Only algorithms with a private and a public key. With HS256, anybody could sign with
# the key that the provider publishes, and "none" needs no key at all.
ALGORITHMS = """
    RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA
""".split()
# By how many seconds the clocks of provider and desk may differ.
LEEWAY = 30
# Claims without which a token is refused.
_REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]


class IdTokenRefused(Exception):
    """The token is not accepted. The text says why, and contains nothing secret."""


def verified_claims(
    token: object, *, keys: Mapping[str, Any], issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """Return the claims of a token, if the issuer signed it for this client and this
    sign-in. Raises IdTokenRefused.

    `keys` is the issuer's JSON Web Key Set. It is fetched for each token, so it is
    never out of date.
    """
    if not isinstance(token, str):
        raise IdTokenRefused("there is none")
    try:
        claims = jwt.decode(
            token,
            _key_of(token, keys),
            algorithms=ALGORITHMS,
            issuer=issuer,
            audience=client_id,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "enforce_minimum_key_length": True},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise IdTokenRefused(str(error)[:100]) from error
    is_for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", "" if is_for_several else client_id) != client_id:
        raise IdTokenRefused("it was issued to another client")
    if claims["nonce"] != nonce:
        raise IdTokenRefused("it belongs to another sign-in")
    return claims


def _key_of(token: str, keys: Mapping[str, Any]) -> jwt.PyJWK:
    """Return the key that the token names, for use with the token's algorithm. PyJWT
    checks that key and algorithm fit.
    """
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    name = header.get("kid")
    if algorithm not in ALGORITHMS:
        raise IdTokenRefused("its algorithm is not accepted")
    published = keys.get("keys")
    matching = [
        row
        for row in (published if isinstance(published, list) else ())
        if isinstance(row, dict)
        and row.get("use", "sig") == "sig"
        # A token need not name a key if the issuer has only one.
        and name in (None, row.get("kid"))
    ]
    if len(matching) != 1:
        raise IdTokenRefused("no key of the issuer's is the one that it names")
    return jwt.PyJWK(matching[0], algorithm=matching[0].get("alg") or algorithm)
