"""The key of a domain that signs its mail (DKIM, RFC 6376) once DNS is seen to have it, and
the next key, which takes over when DNS has that.
"""

import base64
import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.utils import timezone

from common.mail_addresses import domain_of
from gateway.models import Domain

# The headers that are signed. Each is named once more than it occurs, so that adding
# one breaks the signature (RFC 6376, section 8.15).
_SIGNED = (
    2
    * b"""
    from to cc subject date message-id reply-to in-reply-to references mime-version
    content-type content-transfer-encoding x-ai-generated x-multimail-identity
    """.split()
)


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
    # Imported late: with its DNS library it takes 4 MB of memory, and an installation
    # may have no domain of its own.
    import dkim

    signed_headers = list(_SIGNED)
    if b"\r\nList-Unsubscribe: " in message.partition(b"\r\n\r\n")[0]:
        # RFC 8058 requires these to be signed. They are signed only if the message has
        # them, because mailing lists add their own to other mail.
        signed_headers += 2 * b"list-unsubscribe list-unsubscribe-post".split()
    header: bytes = dkim.sign(
        message,
        selector=domain.dkim_selector.encode(),
        domain=domain.domain.encode(),
        privkey=domain.dkim_private_key.encode(),
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=signed_headers,
    )
    return header + message
