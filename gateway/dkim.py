"""The key of a domain that signs its mail (DKIM, RFC 6376) once DNS is seen to have it, and
the next key, which takes over when DNS has that.
"""

import base64
import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.utils import timezone

from common import dkim_signature
from common.mail_addresses import domain_of
from gateway.models import Domain


def make_key(domain: Domain, *, prefix: str = "") -> None:
    """Give a domain a key; it signs nothing until DNS has it. With the prefix `next_`
    it is the next key.
    """
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key = {
        "dkim_selector": f"cs{timezone.now():%Y%m%d}-{secrets.token_hex(2)}",
        "dkim_private_key": pem.decode(),
        "dkim_public_key": base64.b64encode(public).decode(),
    }
    domain.save_fields(**{f"{prefix}{name}": value for name, value in key.items()})


def replace_key(domain: Domain) -> None:
    """Let the next key sign; the one before is forgotten."""
    domain.save_fields(
        dkim_selector=domain.next_dkim_selector,
        dkim_private_key=domain.next_dkim_private_key,
        dkim_public_key=domain.next_dkim_public_key,
        next_dkim_selector="",
        next_dkim_private_key="",
        next_dkim_public_key="",
    )


def signed(message: bytes, sender: str) -> bytes:
    """Return a message with a DKIM signature of its sender's domain; unchanged if that
    domain has no verified key.
    """
    sender_domains = Domain.objects.active().filter(domain=domain_of(sender))
    domain = sender_domains.exclude(dkim_verified_at=None).first()
    if not domain:
        return message
    return dkim_signature.signed(
        message, domain.domain, domain.dkim_selector, domain.dkim_private_key
    )
