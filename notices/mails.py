"""Makes the mail that tells a person of notices: what it is about, and a link to it,
which only opens and holds no secret.
"""

from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone

from notices.models import Cause
from notices.preferences import stop_path
from notices.wording import ShownNotice
from people.models import Person

# In characters.
MAX_SUBJECT = 150


def sender() -> str:
    """Return the sender of the desk's mails to people."""
    return settings.EMAIL_FROM or f"Countersign <countersign@{_host()}>"


def mail_of(person: Person, notices: Sequence[ShownNotice], key: int) -> bytes:
    """Return the mail of these notices, which have one cause. With the same key it is
    the same mail.
    """
    first = notices[0]
    subject = first.sentence
    if len(notices) > 1:
        subject = f"{subject} ({len(notices)})"
    elif first.subject and settings.EMAIL_SUBJECTS:
        subject = f"{subject}: {first.subject}"
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = " ".join(subject.split())[:MAX_SUBJECT]
    mail["From"] = sender()
    mail["To"] = person.email
    mail["Date"] = format_datetime(timezone.now())
    mail["Message-ID"] = f"<notice-{key}@{_host()}>"
    mail["Auto-Submitted"] = "auto-generated"
    if len(notices) == 1 and first.notice.message:
        # Mail programs show all mails about one message as one thread.
        mail["References"] = f"<message-{first.notice.message.public_id}@{_host()}>"
    cause = Cause(first.notice.cause)
    stop = settings.PUBLIC_URL + stop_path(person.pk, cause)
    context = {
        "notices": notices,
        "person": person,
        "desk": settings.PUBLIC_URL,
        "names_subjects": settings.EMAIL_SUBJECTS,
        "stop": "" if cause == Cause.ACCOUNT else stop,
    }
    with timezone.override(ZoneInfo(person.time_zone)):
        mail.set_content(render_to_string("notices/mail.txt", context))
        html = render_to_string("notices/mail.html", context)
    mail.add_alternative(html, subtype="html")
    if cause == Cause.ACCOUNT:
        return mail.as_bytes()
    # By hand: the library would write so long an address as encoded words, which no
    # mail program reads there.
    headers = (
        f"List-Unsubscribe: <{stop}>\r\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    return headers.encode() + mail.as_bytes()


def _host() -> str:
    return urlsplit(settings.PUBLIC_URL).hostname or "localhost"
