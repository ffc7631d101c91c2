"""Verifies what an OpenID Connect provider signed about a person (OpenID Connect Core
1.0, section 3.1.3.7).
"""

from collections.abc import Mapping
from typing import Any

import jwt

# Only keys in pairs: with HS256 the key that the provider publishes would be the one
# that signs, and none needs no key.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
# How many seconds the clocks of provider and desk may differ.
LEEWAY = 30
_REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]


class IdTokenRefused(Exception):
    """The token proves nothing. The text says why; it contains nothing secret."""


def verified_claims(
    token: object, *, keys: Mapping[str, Any], issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """Return the claims of a token that the issuer signed for this client and this
    sign-in. Raises IdTokenRefused.

    `keys` is the issuer's JSON Web Key Set, fetched for this token, so that a changed
    key needs no second look.
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
    """Return the key that the token names, for the algorithm that the token names;
    PyJWT checks that both fit.
    """
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    name = header.get("kid")
    if algorithm not in ALGORITHMS:
        raise IdTokenRefused("its algorithm is not accepted")
    published = keys.get("keys")
    fitting = [
        row
        for row in (published if isinstance(published, list) else ())
        if isinstance(row, dict)
        and row.get("use", "sig") == "sig"
        # A token needs no name of a key where there is only one.
        and name in (None, row.get("kid"))
    ]
    if len(fitting) != 1:
        raise IdTokenRefused("no key of the issuer's is the one that it names")
    return jwt.PyJWK(fitting[0], algorithm=fitting[0].get("alg") or algorithm)
