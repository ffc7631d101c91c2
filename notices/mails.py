"""Makes the mail that tells a person of notices: what it is about, and a link to it,
which only opens and holds no secret.
"""

from collections.abc import Sequence
from email.message import EmailMessage
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


def mail_of(person: Person, notices: Sequence[ShownNotice], key: int) -> EmailMessage:
    """Return the mail of these notices, which have one cause. With the same key it is
    the same mail.
    """
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    first = notices[0]
    cause = Cause(first.notice.cause)
    subject = first.sentence
    if len(notices) > 1:
        subject = f"{len(notices)} × {subject}"
    elif first.subject and settings.EMAIL_SUBJECTS:
        subject = f"{subject}: {first.subject}"
    mail = EmailMessage()
    mail["Subject"] = " ".join(subject.split())[:MAX_SUBJECT]
    mail["From"] = settings.EMAIL_FROM or f"Countersign <countersign@{host}>"
    mail["To"] = person.email
    mail["Date"] = format_datetime(timezone.now())
    mail["Message-ID"] = f"<notice-{key}@{host}>"
    mail["Auto-Submitted"] = "auto-generated"
    if len(notices) == 1 and first.notice.message:
        # Mail programs show all mails about one message as one thread.
        mail["References"] = f"<message-{first.notice.message.public_id}@{host}>"
    context = {
        "notices": notices,
        "person": person,
        "desk": settings.PUBLIC_URL,
        "names_subjects": settings.EMAIL_SUBJECTS,
    }
    if cause != Cause.ACCOUNT:
        context["stop"] = stop = settings.PUBLIC_URL + stop_path(person.pk, cause)
        mail["List-Unsubscribe"] = f"<{stop}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    with timezone.override(ZoneInfo(person.time_zone)):
        mail.set_content(render_to_string("notices/mail.txt", context))
        html = render_to_string("notices/mail.html", context)
    mail.add_alternative(html, subtype="html")
    return mail
