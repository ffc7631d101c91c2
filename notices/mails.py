"""Makes the mail that tells a person of notices: what it is about, and a link to it,
which only opens and holds no secret.
"""

from collections.abc import Sequence
from uuid import uuid4
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from common.desk_mail import compose, desk_host, own_domain
from common.return_addresses import return_address
from notices.models import Cause
from notices.preferences import stop_path
from notices.wording import ShownNotice
from people.addresses import is_read_at_desk, proof_path
from people.models import Person
from people.second_admin.setting import mails_name_subjects

# Mail programs cut longer lists of references.
MOST_REFERENCES = 20


def mail_of(person: Person, notices: Sequence[ShownNotice], key: str) -> bytes:
    """Return the mail of these notices, which have one cause. With the same key it is
    the same mail.
    """
    first = notices[0]
    names_subjects = mails_name_subjects()
    subject = first.sentence
    reply_to = ""
    messages = [one.notice.message for one in notices if one.notice.message]
    if len(notices) > 1:
        subject = f"{subject} ({len(notices)})"
    elif messages:
        # Mail programs show all mails about one message as one thread: they go by the
        # subject and by References.
        named = first.subject if names_subjects else ""
        subject = f"[Countersign] {named or 'A message'}"
        # Those who read mail at the desk, such as agents, do not answer for a person.
        domain = own_domain()
        if domain.takes_mail and not is_read_at_desk(person.email):
            name = f"{messages[0].public_id.hex}-{person.pk}"
            reply_to = return_address(name, domain.name)
    cause = first.notice.cause
    stop = settings.PUBLIC_URL + stop_path(person.pk, cause)
    context = {
        "notices": notices,
        "person": person,
        "names_subjects": names_subjects,
        "stop": "" if cause == Cause.ACCOUNT else stop,
        "reply_to": reply_to,
    }
    with timezone.override(ZoneInfo(person.time_zone)):
        mail = compose(person.email, subject, f"notice-{key}", "notices/mail", context)
    # By hand: the library would write so long an address as encoded words, which no
    # mail program reads there.
    headers = f"Reply-To: {reply_to}\r\n" if reply_to else ""
    if messages:
        names = [
            f"<message-{one.public_id}@{desk_host()}>"
            for one in messages[:MOST_REFERENCES]
        ]
        headers += "References: {}\r\n".format("\r\n ".join(names))
    if cause != Cause.ACCOUNT:
        headers += (
            f"List-Id: Countersign <notices.{desk_host()}>\r\n"
            f"List-Unsubscribe: <{stop}>\r\n"
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        )
    return headers.encode() + mail.as_bytes()


def mail_for_test(person: Person) -> bytes:
    """Return a test mail, with a link that proves that it arrived."""
    context = {"person": person, "path": proof_path(person)}
    return compose(
        person.email,
        "A test: mail of the desk reaches you",
        f"test-{uuid4().hex}",
        "notices/test_mail",
        context,
    ).as_bytes()
