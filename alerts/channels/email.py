"""The channel for email to people: sends notices through the mail server in EMAIL_URL.
A mail names its subject and links to it; the link only opens, and holds no secret. It
must not know cards.
"""

import smtplib
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parseaddr
from typing import Any

from django.conf import settings

from alerts.channels.base import Channel, DestinationGone, Posted, Refused, RetryLater
from alerts.models import Destination
from common.smtp import Server, connect
from notices.mails import mail_of, sender
from notices.wording import ShownNotice

# Seconds: for each step of a session, and between two mails to one person, so that what
# comes in between makes one mail.
STEP_SECONDS = 6
PAUSE = 60.0


class EmailChannel(Channel):
    """Sends a person's notices to the address of their account."""

    kind = "email"
    label = "mail"
    service = "The mail server"
    fields = ()
    posts_cards = False
    is_personal = True

    def address(self, destination: Destination) -> str:
        return destination.owner.email if destination.owner else ""

    def post_test(self, destination: Destination, *, limit: float) -> Posted:
        raise Refused("Notices are not tested here.")

    def post_notices(
        self, destination: Destination, notices: Sequence[ShownNotice], *, key: int
    ) -> Posted:
        """Send notices of one cause as one mail. A second attempt with the same key is
        the same mail. Raises DestinationGone if the server refuses the address.
        """
        person: Any = destination.owner
        mail = mail_of(person, notices, key)
        smtp = None
        try:
            server = Server.from_url(settings.EMAIL_URL)
            smtp = connect(server, connect_timeout=STEP_SECONDS, timeout=STEP_SECONDS)
            smtp.sendmail(parseaddr(sender())[1], [person.email], mail)
        except smtplib.SMTPRecipientsRefused as error:
            code, reply = error.recipients[person.email]
            said = f"The mail server refuses {person.email}: {code} {_text(reply)}"
            if code < 500:
                raise RetryLater(said, status=code) from error
            # 5.7 is the server's policy, which may say nothing about the address.
            is_policy = b" 5.7." in b" " + reply
            raise (Refused if is_policy else DestinationGone)(
                said, status=code
            ) from error
        except smtplib.SMTPDataError as error:
            said = f"The mail server refuses the mail: {_text(error.smtp_error)}"
            refused = Refused if error.smtp_code >= 500 else RetryLater
            raise refused(said, status=error.smtp_code) from error
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            said = f"The mail server cannot be used ({type(error).__name__})."
            raise RetryLater(said) from error
        finally:
            if smtp is not None:
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
        return Posted("", 250, answer=f"Accepted by {server}.", pause=PAUSE)


def _text(reply: bytes | str) -> str:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())[:200]


CHANNELS = (EmailChannel(),)
