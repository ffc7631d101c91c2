"""A browser that takes pushes, and a stand-in for its push service (RFC 8030)."""

import json

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from alerts.models import Destination
from tests.serving import standing_in

_KEY = ec.derive_private_key(7**40, ec.SECP256R1())
_POINT = _KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
_AUTH = b"sixteen bytes ok"
SUBSCRIPTION = {
    "endpoint": "https://push.example/send/a-long-token",
    "p256dh": urlsafe_base64_encode(_POINT),
    "auth": urlsafe_base64_encode(_AUTH),
}


class PushService:
    """The state of the stand-in: what it took, and the statuses of the next answers."""

    def __init__(self):
        self.url = ""
        self.taken = []
        self.statuses = []


def push_service():
    """Serve a stand-in on a free port."""
    service = PushService()

    def answer(handler):
        body, headers = handler.body(), dict(handler.headers)
        status = service.statuses.pop(0) if service.statuses else 201
        if status == 201:
            service.taken.append((read(body), headers))
        handler.reply(status)

    return standing_in(service, answer)


def make_browser(person, url=SUBSCRIPTION["endpoint"]):
    """Switch notifications of the browser on for a person."""
    keys = f"{SUBSCRIPTION['p256dh']} {SUBSCRIPTION['auth']}"
    return Destination.objects.create(
        owner=person, kind="web_push", name="Firefox", url=url, secret=keys
    )


def read(body):
    """Return what the browser reads of a push (RFC 8291, section 4)."""
    salt, length = body[:16], body[20]
    point, record = body[21 : 21 + length], body[21 + length :]
    sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    info = b"WebPush: info\0" + _POINT + point
    secret = _derived(_KEY.exchange(ec.ECDH(), sender), _AUTH, info, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    text = AESGCM(key).decrypt(nonce, record, None)
    assert text.endswith(b"\2")
    return json.loads(text[:-1])


def _derived(secret, salt, info, length):
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def signed_claims(authorization):
    """Return the claims of a request's signature, checked with the key beside it."""
    token, _, key = authorization.removeprefix("vapid t=").partition(", k=")
    point = urlsafe_base64_decode(key)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return jwt.decode(
        token,
        public,
        algorithms=["ES256"],
        audience=None,
        options={"verify_aud": False},
    )
