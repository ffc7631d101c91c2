"""The channel for notifications of a person's browser, Web Push (RFC 8030). What is sent
is encrypted for that browser (RFC 8291) and signed by the desk (RFC 8292): an opaque id,
a sentence without content, and how many notices are unread. It must not know cards.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from alerts.channels.base import Channel, Posted
from alerts.channels.requests import DestinationGone
from alerts.models import Destination
from common.origins import origin_of
from notices.models import unread_count
from notices.wording import ShownNotice

# Seconds: how long the service keeps a push for a browser that is away, and how long a
# signature is valid.
KEPT = 4 * 3600
_SIGNED_FOR = 3600
# How many bytes one record holds.
_RECORD = 4096
_CURVE = ec.SECP256R1()


def signing_key() -> ec.EllipticCurvePrivateKey:
    """Return the key by which push services know this desk. It is made from SECRET_KEY:
    with another one, people have to switch notifications on again.
    """
    # Halved, so that it is below the order of the curve.
    return ec.derive_private_key(
        int.from_bytes(_derived(settings.SECRET_KEY.encode(), b"", b"web push", 32))
        >> 1,
        _CURVE,
    )


def public_key() -> str:
    """Return its public half, as browsers take it."""
    return urlsafe_base64_encode(_point(signing_key().public_key()))


def encrypted(text: bytes, p256dh: str, auth: str) -> bytes:
    """Return `text` encrypted for the browser with these keys (RFC 8291, section 3)."""
    sender = ec.generate_private_key(_CURVE)
    salt = os.urandom(16)
    receiver = _receiver(p256dh)
    ours = _point(sender.public_key())
    shared = sender.exchange(ec.ECDH(), receiver)
    info = b"WebPush: info\0" + _point(receiver) + ours
    secret = _derived(shared, urlsafe_base64_decode(auth), info, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    # 2 ends the last record.
    record = AESGCM(key).encrypt(nonce, text + b"\2", None)
    return salt + _RECORD.to_bytes(4) + bytes([len(ours)]) + ours + record


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _receiver(p256dh: str) -> ec.EllipticCurvePublicKey:
    point = urlsafe_base64_decode(p256dh)
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)


def endpoint_hash(url: str) -> str:
    """Return the SHA-256 of a browser's address, by which its own page knows it."""
    return hashlib.sha256(url.encode()).hexdigest()


class WebPush(Channel):
    """Notifies one browser of a person. Its subscription is the destination: `url` is
    the address at the push service, `secret` the browser's two keys.
    """

    kind = "web_push"
    label = "push"
    service = "The push service"
    is_personal = True
    example = "https://push.example/a-long-token"
    gone = (401, 403, 404, 410)
    refused = range(500)
    pause = 10.0
    when_accepted = (
        "The push service accepted it. A notification appears in that browser."
    )

    def subscription_error(self, url: str, keys: str) -> str:
        """Return why these are not the address and the keys of a browser's
        subscription, as a sentence; empty if they are.
        """
        p256dh, _, auth = keys.partition(" ")
        try:
            _receiver(p256dh)
            is_key = len(urlsafe_base64_decode(auth)) == 16
        except ValueError:
            is_key = False
        return self.url_error(url) or (
            "" if is_key else "The browser's keys are not valid."
        )

    def post_test(self, destination: Destination) -> Posted:
        return self._push(destination, "This browser gets notifications.", "", 0)

    def post_notices(
        self,
        destination: Destination,
        notices: Sequence[ShownNotice],
        *,
        key: str,
        mark: Callable[[], None],
    ) -> Posted:
        """Push notices of one cause as one notification. A second attempt with the same
        key replaces the first, so that none needs a mark.
        """
        first = notices[0]
        sentence = first.sentence
        if len(notices) > 1:
            sentence = f"{len(notices)} × {sentence}"
        owner: Any = destination.owner
        unread = unread_count(owner.actor(surface="worker"))
        opens = str(first.notice.pk) if len(notices) == 1 else ""
        return self._push(destination, sentence, opens, unread, topic=f"notice-{key}")

    def _push(
        self,
        destination: Destination,
        sentence: str,
        opens: str,
        unread: int,
        *,
        topic: str = "test",
    ) -> Posted:
        url = destination.url
        if error := self.subscription_error(url, destination.secret):
            raise DestinationGone(error)
        # Browsers that know declarative pushes show this part without a script.
        notification = {
            "title": "Countersign",
            "body": sentence,
            "navigate": f"{settings.PUBLIC_URL}/notices/{f'{opens}/' if opens else ''}",
            "tag": opens or "countersign",
            "app_badge": str(unread),
        }
        content = {
            "web_push": 8030,
            "notification": notification,
            "id": opens,
            "text": sentence,
            "unread": unread,
        }
        p256dh, _, auth = destination.secret.partition(" ")
        body = encrypted(json.dumps(content).encode(), p256dh, auth)
        headers = {
            "Authorization": _signature(url),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(KEPT),
            "Topic": topic,
        }
        return self.post_body(destination, body, headers=headers)


def _signature(url: str) -> str:
    """Return the header that says which desk pushes, for the service of this address."""
    parts = urlsplit(url)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int(time.time()) + _SIGNED_FOR,
        "sub": origin_of(settings.PUBLIC_URL),
    }
    token = jwt.encode(claims, signing_key(), algorithm="ES256")
    return f"vapid t={token}, k={public_key()}"


CHANNELS = (WebPush(),)
