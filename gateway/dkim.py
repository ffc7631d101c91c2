"""Keys that sign the mail of domains (DKIM, RFC 6376): making, replacing and using
them.

A key signs once it is seen in DNS, until a newer one replaces it. The old record stays
for a week, so that mail on its way can still be checked.
"""

import base64
import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import transaction
from django.utils import timezone

from common.mail_addresses import domain_of
from gateway.models import DkimKey, Domain

_BITS = 2048
# Each is signed once more than it occurs, so that adding one breaks the signature (RFC
# 6376, section 8.15).
_SIGNED = 2 * (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"x-ai-generated",
    b"x-multimail-identity",
)


def make_key(domain: Domain) -> DkimKey:
    """Make a key for a domain; it signs nothing until DNS has it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return DkimKey.objects.create(
        domain=domain,
        selector=f"cs{timezone.now():%Y%m%d}-{secrets.token_hex(2)}",
        private_key=pem.decode(),
        public_key=base64.b64encode(public).decode(),
    )


def activate_published(domain: Domain, published: list[str]) -> bool:
    """Mark the published keys as verified and retire all but the newest; return whether
    any signs.
    """
    now = timezone.now()
    with transaction.atomic():
        keys = list(
            domain.dkim_keys.select_for_update().filter(retired_at=None).order_by("-pk")
        )
        seen = [key for key in keys if key.selector in published]
        for key in seen:
            if key.verified_at is None:
                key.verified_at = now
                key.save(update_fields=["verified_at"])
        older = [key.pk for key in keys if seen and key.pk < seen[0].pk]
        domain.dkim_keys.filter(pk__in=older).update(retired_at=now)
    return bool(seen)


def signed(message: bytes, sender: str) -> bytes:
    """Return a message with a signature of its sender's domain, where that has a key
    that signs.
    """
    keys = DkimKey.objects.filter(
        domain__domain=domain_of(sender),
        domain__status=Domain.Status.ACTIVE,
        retired_at=None,
    )
    key = keys.exclude(verified_at=None).select_related("domain").order_by("pk").last()
    if key is None:
        return message
    # Imported late: with its DNS it needs 4 MB, and a desk may send for no domain of
    # its own.
    import dkim

    header: bytes = dkim.sign(
        message,
        selector=key.selector.encode(),
        domain=key.domain.domain.encode(),
        privkey=key.private_key.encode(),
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=list(_SIGNED),
    )
    return header + message
