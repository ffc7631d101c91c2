"""The channel for email to people: sends notices through the mail server in EMAIL_URL.
A mail names its subject and links to it; the link only opens, and holds no secret. It
must not know cards.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings

from alerts.channels.base import Channel, Posted
from alerts.channels.requests import DestinationGone, NotPosted, Refused, RetryLater
from alerts.models import Destination
from common.desk_mail import Failure, MailNotSent, send
from notices.mails import mail_for_test, mail_of
from notices.wording import ShownNotice

_RAISED = {
    Failure.LATER: RetryLater,
    Failure.REFUSED: Refused,
    Failure.NO_SUCH_ADDRESS: DestinationGone,
}


class EmailChannel(Channel):
    """Sends a person's notices to the address of their account."""

    kind = "email"
    label = "mail"
    service = "The mail server"
    is_personal = True
    # What comes meanwhile makes one mail.
    pause = 60.0
    when_accepted = (
        "The mail server accepted the mail. Open it, and press the link in it."
    )

    @property
    def not_ready(self) -> str:
        is_set = bool(settings.EMAIL_URL)
        return "" if is_set else "No mail server is set (EMAIL_URL): nothing is mailed."

    def address(self, destination: Destination) -> str:
        return destination.owner.email if destination.owner else ""

    def post_test(self, destination: Destination) -> Posted:
        person: Any = destination.owner
        return self._send(person.email, mail_for_test(person))

    def post_notices(
        self,
        destination: Destination,
        notices: Sequence[ShownNotice],
        *,
        key: str,
        mark: Callable[[], None],
    ) -> Posted:
        """Send notices of one cause as one mail. A second attempt with the same key is
        the same mail. `mark` is called just before it is handed over. Raises
        DestinationGone if the server refuses the address.
        """
        person: Any = destination.owner
        return self._send(person.email, mail_of(person, notices, key), mark)

    def _why_not(self, error: NotPosted) -> str:
        return f"{error} {getattr(error.__cause__, 'advice', '')}"

    def _send(
        self, to: str, mail: bytes, mark: Callable[[], None] = lambda: None
    ) -> Posted:
        try:
            answer = send(to, mail, mark)
        except MailNotSent as error:
            kind = _RAISED[error.failure]
            raise kind(str(error), status=error.status) from error
        return Posted("", 250, answer=answer, pause=self.pause)


CHANNELS = (EmailChannel(),)
