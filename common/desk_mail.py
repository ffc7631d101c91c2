"""Mail that the desk writes to its own people, through the mail server in EMAIL_URL.
Where that is asked for delivery notices, the mail has a return address, and the
gateway's listener reports what comes back later.

The desk does not know the gateway's tables. The gateway notes every minute whether the
sender's domain is one of its domains: then mail is signed, and can be answered.
"""

import base64
import hashlib
import smtplib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from celery import shared_task
from django.conf import settings
from django.core.cache import cache
from django.dispatch import Signal
from django.template.loader import render_to_string
from django.utils import timezone

from common.dkim_signature import signed
from common.encryption import decrypt
from common.mail_addresses import domain_of
from common.return_addresses import return_address
from common.smtp import Server, connect
from common.tasks import AfterCommitTask

# Seconds for each step of a session.
STEP_SECONDS = 6
# In characters.
MAX_SUBJECT = 150
# Sent when a mail came back for good, with the `name` of its address and the `status`
# and `text` of the report.
bounced = Signal()
# Sent when a person answered a mail, with the `name` of its reply address, the address of the `author`
# and the `text` of the answer.
replied = Signal()
# Under this and the name of a domain, the cache has an OwnDomain.
OWN_DOMAIN = "own-domain-"
# Of an answer's text, in characters.
MAX_REPLY = 20_000


class Failure(Enum):
    """What it means that a mail was not accepted: what to do."""

    LATER = "Try again in a few minutes. If this goes on, the operator has to check EMAIL_URL."
    REFUSED = "The operator has to ask the provider of the mail server."
    NO_SUCH_ADDRESS = "Check the address."


class MailNotSent(Exception):
    """The mail server did not accept a mail. The message is a sentence that may be
    shown.
    """

    def __init__(self, failure: Failure, said: str, status: int | None = None) -> None:
        super().__init__(said)
        self.failure = failure
        self.advice = failure.value
        self.status = status


def desk_host() -> str:
    """Return the name of the desk's host."""
    return urlsplit(settings.PUBLIC_URL).hostname or "localhost"


def sender() -> str:
    """Return the sender of the desk's mails to people."""
    return settings.EMAIL_FROM or f"Countersign <countersign@{desk_host()}>"


@dataclass(frozen=True)
class OwnDomain:
    """The domain of the sender, and what the gateway does for it."""

    name: str
    # The DKIM key that DNS has, encrypted. Without one the selector is empty.
    selector: str = ""
    private_key: str = ""
    # Whether the gateway receives its mail.
    takes_mail: bool = False


def own_domain() -> OwnDomain:
    """Return the domain of the sender, with what the gateway noted of it."""
    name = domain_of(parseaddr(sender())[1]).lower()
    domain: OwnDomain = cache.get(OWN_DOMAIN + name, OwnDomain(name))
    return domain


def compose(
    to: str, subject: str, key: str, template: str, context: dict[str, Any]
) -> EmailMessage:
    """Return a mail with the texts that these templates make, `template` with .txt and
    with .html. With the same key it is the same mail.
    """
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = " ".join(subject.split())[:MAX_SUBJECT]
    mail["From"] = sender()
    mail["To"] = to
    mail["Date"] = format_datetime(timezone.now())
    mail["Message-ID"] = f"<{key}@{desk_host()}>"
    mail["Auto-Submitted"] = "auto-generated"
    context = {"desk": settings.PUBLIC_URL, **context}
    mail.set_content(render_to_string(f"{template}.txt", context))
    html = render_to_string(f"{template}.html", context)
    mail.add_alternative(html, subtype="html")
    return mail


def send(to: str, mail: bytes, mark: Callable[[], None] = lambda: None) -> str:
    """Hand a mail to the mail server, and return who accepted it, as a sentence. `mark` is
    called once the server answers, before the mail may leave. Raises MailNotSent.
    """
    smtp = None
    domain = own_domain()
    if domain.selector:
        mail = signed(mail, domain.name, domain.selector, decrypt(domain.private_key))
    try:
        server = Server.from_url(settings.EMAIL_URL)
        smtp = connect(server, connect_timeout=STEP_SECONDS, timeout=STEP_SECONDS)
        envelope_sender = parseaddr(sender())[1]
        if server.dsn:
            envelope_sender = return_address(name_of(to), domain_of(envelope_sender))
        mark()
        smtp.sendmail(envelope_sender, [to], mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = error.recipients[to]
        failure = Failure.LATER
        if code >= 500:
            # 5.7 is the server's policy, which may say nothing about the address.
            is_policy = b" 5.7." in b" " + reply
            failure = Failure.REFUSED if is_policy else Failure.NO_SUCH_ADDRESS
        said = f"The mail server refuses {to}: {code} {_text(reply)}"
        raise MailNotSent(failure, said, code) from error
    except smtplib.SMTPDataError as error:
        said = f"The mail server refuses the mail: {_text(error.smtp_error)}"
        failure = Failure.REFUSED if error.smtp_code >= 500 else Failure.LATER
        raise MailNotSent(failure, said, error.smtp_code) from error
    except smtplib.SMTPResponseException as error:
        said = f"The mail server cannot be used: {error.smtp_code} {_text(error.smtp_error)}"
        raise MailNotSent(Failure.LATER, said, error.smtp_code) from error
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        said = f"The mail server cannot be used ({type(error).__name__})."
        raise MailNotSent(Failure.LATER, said) from error
    finally:
        if smtp is not None:
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
    return f"Accepted by {server}."


def name_of(address: str) -> str:
    """Return the name that the return addresses of mail to this address have."""
    digest = hashlib.sha256(address.casefold().encode()).digest()
    return base64.b32encode(digest)[:26].decode()


@shared_task(base=AfterCommitTask)
def report_bounce(name: str, status: str, text: str) -> None:
    """Tell the desk that its mail to an address came back for good."""
    bounced.send(None, name=name, status=status, text=_text(text))


@shared_task(base=AfterCommitTask)
def report_reply(name: str, author: str, text: str) -> None:
    """Tell the desk that a person answered its mail."""
    replied.send(None, name=name, author=author, text=text)


def _text(reply: bytes | str) -> str:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())[:200]
