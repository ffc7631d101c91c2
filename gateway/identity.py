"""The signed statement in outgoing mail of who sends it and who watches: the header X-MultiMail-Identity.

A JSON Web Signature (RFC 7515) by ES256, whose public key stands at /.well-known/multimail-signing-key. Blanks in the
header do not count.
"""

import base64
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from gateway.models import Email
from gateway.states import Decision

ALGORITHM = "ES256"
# A longer word would be written as an encoded one.
_LINE = 120


def statement(email: Email, *, at: int) -> str:
    """Return the header of an email; `at` is when it was written, in seconds."""
    claims = {
        "operator": email.account.name,
        "address": email.from_address,
        "oversight_mode": email.oversight_mode,
        "approved_by_person": email.decision == Decision.APPROVED,
        "ai_generated": True,
        "message_id": email.message_id_header,
        "iat": at,
    }
    token = jwt.encode(claims, _key(settings.SECRET_KEY), algorithm=ALGORITHM)
    return " ".join(token[start : start + _LINE] for start in range(0, len(token), _LINE))


def public_key() -> dict[str, Any]:
    """Return the key by which statements are checked, as a JSON Web Key (RFC 7517)."""
    numbers = _key(settings.SECRET_KEY).public_key().public_numbers()
    point = {"x": numbers.x, "y": numbers.y}
    return {"kty": "EC", "crv": "P-256", "alg": ALGORITHM, "use": "sig", **{n: _text(v) for n, v in point.items()}}


@cache
def _key(secret: str) -> ec.EllipticCurvePrivateKey:
    # More bits than the curve has, so that each key is as probable as any other.
    drawn = HKDF(SHA256(), 48, salt=None, info=b"gateway.identity").derive(secret.encode())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return ec.derive_private_key(int.from_bytes(drawn) % (order - 1) + 1, ec.SECP256R1())


def _text(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()
