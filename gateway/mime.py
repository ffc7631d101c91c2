"""Builds the message that goes out: text and HTML, files, and headers that stay the same at every attempt.

Bcc recipients appear in the envelope only.
"""

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from common.letter import render_markdown, with_signature
from common.mail_addresses import clean_addresses
from gateway.content import all_recipients
from gateway.identity import statement
from gateway.models import Email

# 7bit: not every server takes anything else. Long lines: a folded or encoded message id would break threads.
_POLICY = SMTP.clone(cte_type="7bit", max_line_length=200)


@dataclass(frozen=True)
class Outgoing:
    """A message as the mail server takes it: who it is from, who gets it, and its bytes."""

    sender: str
    recipients: list[str]
    message: bytes


def build(email: Email) -> Outgoing:
    """Return the message of an email whose additions are fixed."""
    additions = email.additions or {}
    cc = list(dict.fromkeys(email.cc + clean_addresses(additions.get("auto_cc", ""))))
    message = EmailMessage(policy=_POLICY)
    _set_headers(message, email, cc)
    if additions.get("ai_disclosure"):
        message["X-AI-Generated"] = "true"
        message["X-MultiMail-Identity"] = statement(email, at=int(_written_at(email).timestamp()))
    _set_bodies(message, email, additions.get("signature", ""))
    for file in email.attachments.all() if email.has_attachments else ():
        main, _, sub = file.content_type.partition("/")
        # A file that is itself mail, or of several parts, travels as plain bytes: it must arrive byte for byte.
        if main in ("message", "multipart"):
            main, sub = "application", "octet-stream"
        message.add_attachment(bytes(file.content), maintype=main, subtype=sub, filename=file.name)
    return Outgoing(email.from_address, all_recipients(email), message.as_bytes())


def _set_headers(message: EmailMessage, email: Email, cc: list[str]) -> None:
    message["From"] = Address(email.from_name, addr_spec=email.from_address)
    message["To"] = _header(email.to)
    if cc:
        message["Cc"] = _header(cc)
    if email.reply_to:
        message["Reply-To"] = _header([email.reply_to])
    message["Subject"] = email.subject
    message["Date"] = format_datetime(_written_at(email))
    message["Message-ID"] = email.message_id_header
    if email.in_reply_to:
        message["In-Reply-To"] = email.in_reply_to
        message["References"] = email.references or email.in_reply_to


def _written_at(email: Email) -> datetime:
    """Return the moment from which it could leave: the same at every attempt, and not days old after a long review."""
    return max(filter(None, (email.created_at, email.decided_at, email.send_at)))


def _header(addresses: list[str]) -> tuple[Address, ...]:
    return tuple(Address(addr_spec=address) for address in addresses)


def _set_bodies(message: EmailMessage, email: Email, signature: str) -> None:
    text = with_signature(email.markdown, signature)
    if email.html is None:
        html = render_markdown(text)
    else:
        lines = "<br>".join(escape(line) for line in signature.strip().splitlines())
        html = f"{email.html}\n<p>-- <br>{lines}</p>" if lines else email.html
    message.set_content(text, charset="utf-8")
    message.add_alternative(html, subtype="html", charset="utf-8")
