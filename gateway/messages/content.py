"""What the recipient of an email gets: its content and what the mailbox adds, as a
fingerprint and as a MIME message. Also the email's return address.

Headers are the same at every attempt. Bcc recipients are in the envelope only. The
header X-MultiMail-Identity states who sends the email and how closely people watch: it
is a JSON Web Signature (RFC 7515, ES256), and /.well-known/multimail-signing-key has
its public key. Blanks in the header do not count.
"""

from dataclasses import replace
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.crypto import salted_hmac
from jwt.algorithms import ECAlgorithm

from common import return_addresses
from common.additions import html_footer, html_part, text_part, with_signature
from common.fingerprint import Attachment as AttachmentFacts
from common.fingerprint import Content, fingerprint
from common.mail_addresses import clean_addresses, domain_of, each_once
from common.unique_keys import Json
from gateway.header_lines import POLICY, header_address
from gateway.messages import strict_reader
from gateway.models import Email
from gateway.parsed import render_markdown
from gateway.states import Decision, Direction, Mode
from gateway.suppression import unsubscribe_link
from gateway.timestamps import iso

# The line that all mail shows. X-AI-Generated and X-MultiMail-Identity come with it.
AI_DISCLOSURE = "This message was written by an AI agent and sent through Countersign."
# Additions that are recipients.
_COPIES = ("auto_cc", "auto_bcc", "oversight_copy")
ALGORITHM = "ES256"
# Characters of a word in a header; a longer one would be folded or encoded.
_LINE = 120


def additions_of(email: Email) -> dict[str, str]:
    """Return what the mailbox adds, by name: as it was fixed at approval or sending,
    and before that from the settings as they are now.
    """
    if email.additions is not None or email.direction == Direction.INBOUND:
        return dict(email.additions or {})
    mailbox = email.mailbox
    copy = (
        email.account.oversight_email if email.oversight_mode == Mode.MONITORED else ""
    )
    additions = {
        "auto_cc": mailbox.auto_cc,
        "auto_bcc": mailbox.auto_bcc,
        "signature": mailbox.signature_block,
        "oversight_copy": copy,
        "ai_disclosure": AI_DISCLOSURE,
        "agent_identity": email.agent_identity,
    }
    if mailbox.commercial:
        additions["postal_address"] = email.account.physical_address
        additions["unsubscribe"] = unsubscribe_link(email)
    return {name: text for name, text in additions.items() if text}


def all_recipients(email: Email) -> list[str]:
    """Return all recipients of an outgoing email, with those that the mailbox adds."""
    additions = additions_of(email)
    added = ", ".join(filter(None, (additions.get(name) for name in _COPIES)))
    return each_once([*email.addressees(), *clean_addresses(added)])


def reaches_a_recipient(email: Email) -> bool:
    """Whether a recipient whom the author named has not refused the email; the copies
    that the mailbox adds do not count.
    """
    return bool(set(email.addressees()) - email.refused_recipients.keys())


def content_of(email: Email) -> Content:
    """Return the whole content of an outgoing email, for its fingerprint."""
    return replace(
        _content_without_bodies(email), markdown=email.markdown, html=email.html
    )


def _content_without_bodies(email: Email) -> Content:
    return Content(
        sender=email.from_address,
        sender_name=email.from_name,
        reply_to=email.reply_to or None,
        to=tuple(email.to),
        cc=tuple(email.cc),
        bcc=tuple(email.bcc),
        subject=email.subject,
        in_reply_to=email.in_reply_to or None,
        attachments=tuple(
            AttachmentFacts(
                file.name, file.content_type, file.size, file.sha256, file.content_id
            )
            for file in email.files()
        ),
        additions=additions_of(email),
        send_at=iso(email.send_at),
    )


def fingerprint_of(email: Email) -> str:
    """Return the fingerprint of an outgoing email as it would leave now."""
    return fingerprint(content_of(email))


def known_fingerprint(email: Email) -> str:
    """Return the same as `fingerprint_of`. The bodies are loaded only if they, or
    anything else that it covers, changed since this was last asked.
    """
    basis = fingerprint(_content_without_bodies(email))
    if email.fingerprint_basis == basis:
        return email.known_fingerprint
    email.refresh_from_db(fields=["markdown", "html"])
    computed = fingerprint_of(email)
    # Not stored if another body was written meanwhile.
    Email.objects.filter(pk=email.pk, markdown=email.markdown, html=email.html).update(
        known_fingerprint=computed, fingerprint_basis=basis
    )
    return computed


def build(email: Email) -> bytes:
    """Return the MIME message of an email whose additions are fixed. Raises Differs if
    its recipient would not get what was approved.
    """
    additions = email.additions or {}
    cc = dict.fromkeys(email.cc + clean_addresses(additions.get("auto_cc", "")))
    message = EmailMessage(policy=POLICY)
    message["From"] = Address(email.from_name, addr_spec=email.from_address)
    message["To"] = list(map(header_address, email.to))
    if cc:
        message["Cc"] = list(map(header_address, cc))
    if email.reply_to:
        message["Reply-To"] = header_address(email.reply_to)
    message["Subject"] = email.subject
    # When it could be sent first. The date is the same at every attempt, also after a
    # long review.
    written_at = max(filter(None, (email.created_at, email.decided_at, email.send_at)))
    message["Date"] = format_datetime(written_at)
    message["Message-ID"] = email.message_id_header
    if email.in_reply_to:
        message["In-Reply-To"] = email.in_reply_to
        message["References"] = email.references or email.in_reply_to
    if additions.get("ai_disclosure"):
        message["X-AI-Generated"] = "true"
        message["X-MultiMail-Identity"] = statement(email, int(written_at.timestamp()))
    if identity := additions.get("agent_identity"):
        message["X-Agent-Identity"] = _in_words(identity)
    if link := additions.get("unsubscribe"):
        # For the mail program's own button, which unsubscribes with one click (RFC
        # 8058).
        message["List-Unsubscribe"] = f"<{link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    if email.html is None:
        html = render_markdown(with_signature(email.markdown, additions)) + html_footer(
            additions
        )
    else:
        html = html_part(email.html, additions)
    text = text_part(email.markdown, additions)
    message.set_content(text, charset="utf-8")
    message.add_alternative(html, subtype="html", charset="utf-8")
    email.attach_files_to(message)
    written = message.as_bytes()
    approved = strict_reader.Approved(
        subject=email.subject,
        sender=[(email.from_name, email.from_address)],
        to=email.to,
        cc=list(cc),
        text=strict_reader.in_lines(text),
        html=strict_reader.in_lines(html),
        files=sorted(
            (file.name, bytes(file.content), file.content_id) for file in email.files()
        ),
    )
    strict_reader.check(written, approved)
    return written


def statement(email: Email, at: int) -> str:
    """Return the header X-MultiMail-Identity of an email; `at` is when it was written,
    in seconds since 1970.
    """
    claims = {
        "operator": email.account.name,
        "address": email.from_address,
        "oversight_mode": email.oversight_mode,
        "approved_by_person": email.decision == Decision.APPROVED,
        "ai_generated": True,
        "message_id": email.message_id_header,
        "iat": at,
    }
    return _in_words(jwt.encode(claims, _key(settings.SECRET_KEY), algorithm=ALGORITHM))


def _in_words(token: str) -> str:
    """Return a long token with blanks in it, at which the header can be folded. Without
    the blanks it is the token again.
    """
    return " ".join(
        token[start : start + _LINE] for start in range(0, len(token), _LINE)
    )


def public_key() -> Json:
    """Return the key by which statements are checked, as a JSON Web Key (RFC 7517)."""
    key = ECAlgorithm.to_jwk(_key(settings.SECRET_KEY).public_key(), as_dict=True)
    return {**key, "alg": ALGORITHM, "use": "sig"}


@cache
def _key(secret: str) -> ec.EllipticCurvePrivateKey:
    # More bits than the order of the curve, so that the remainder is not biased.
    key_material = HKDF(SHA256(), 48, salt=None, info=b"gateway.identity").derive(
        secret.encode()
    )
    # Of the curve P-256.
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return ec.derive_private_key(
        int.from_bytes(key_material) % (order - 1) + 1, ec.SECP256R1()
    )


def return_address(email: Email) -> str:
    """Return the envelope sender of an email, to which bounces and reports about it
    come.
    """
    return return_addresses.return_address(email.pk, domain_of(email.from_address))


def envelope_id(email: Email) -> str:
    """Return an id of the email that only mail servers see; they repeat it in reports
    (ENVID, RFC 3461 section 4.4).
    """
    mac = salted_hmac("gateway.envelope", email.pk, algorithm="sha256")
    return mac.hexdigest()[:32]
