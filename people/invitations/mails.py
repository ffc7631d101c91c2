"""Mails one-time links. A mailed link is shown to nobody at the desk, so whoever uses it
proves that they read mail at its address.
"""

from django.conf import settings
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor
from common.desk_mail import MailNotSent, compose, send
from common.postgres import atomic_with_retry
from people.invitations.links import NewLink, roles_of
from people.models import Invitation, PendingChange, Person
from people.second_admin.changes import put_link_back, take_link
from people.second_admin.registry import wants_second_admin
from people.tokens import hash_of


def may_mail_invitation(actor: Actor) -> bool:
    """Whether an invitation of the actor can be mailed. If two admins make it, each is
    shown one half of the link instead: the address is not proved yet.
    """
    return bool(settings.EMAIL_URL) and not wants_second_admin(actor)


def may_mail_password(person: Person) -> bool:
    """Whether a link for a new password can be mailed to a person."""
    return bool(settings.EMAIL_URL) and person.email_proved_at is not None


def mail_link(link: NewLink, actor: Actor) -> str:
    """Mail a link to the address that it is for, and return what happened, as a
    sentence. Raises MailNotSent; then the caller shows the link.
    """
    invitation = link.invitation
    is_password = invitation.kind == Invitation.Kind.PASSWORD
    subject = "Choose a new password"
    if not is_password:
        subject = f"{invitation.invited_by} invites you to the desk"
    context = {
        "invitation": invitation,
        "is_password": is_password,
        "url": link.url,
        "roles": roles_of(invitation),
    }
    mail = compose(
        invitation.email, subject, f"link-{invitation.pk}", "people/link_mail", context
    )
    answer = send(invitation.email, mail.as_bytes())
    _note_mailed(invitation, answer, actor)
    return f"Sent to {invitation.email}. {answer}"


@atomic_with_retry
def _note_mailed(invitation: Invitation, answer: str, actor: Actor) -> None:
    mailed = Invitation.objects.filter(pk=invitation.pk)
    mailed.update(mailed_at=Now())
    if invitation.kind == Invitation.Kind.PASSWORD:
        # Its address was proved before, so nobody else can read it. Whoever invites
        # chooses the address, and may have chosen their own.
        mailed.update(known_to=[])
    details = {"email": invitation.email, "answer": answer}
    record("person.link_mailed", actor=actor, details=details)


def mail_link_of(change: PendingChange, actor: Actor) -> str:
    """Mail the link that an accepted change made, if it should be mailed, and return
    what happened, as a sentence; empty if it should not.
    """
    if not change.change["arguments"].get("by_mail"):
        return ""
    url = take_link(change.pk)
    if not url:
        return ""
    token = url.rstrip("/").rpartition("/")[2]
    invitation = Invitation.objects.select_related("invited_by", "person").get(
        token_hash=hash_of(token)
    )
    try:
        return mail_link(NewLink(invitation, url), actor)
    except MailNotSent as error:
        put_link_back(change.pk, url)
        return (
            f"{error} {error.advice} Each of you is shown one half of the link instead."
        )
