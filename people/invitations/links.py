"""The commands for one-time links: making and withdrawing invitations to join the desk
and links to set a new password, and using them.

A link grants only what the admin who made it may still grant when it is used. It works
once, for the address that it was made for. Only the hash of its token is stored.

A link can be mailed. A mailed link is shown to nobody at the desk, so whoever uses it
proves that they read mail at its address.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.actors import Actor, Role
from common.desk_mail import Failure, MailNotSent, compose, send
from common.postgres import atomic_with_retry
from people.addresses import is_read_at_desk, note_proof
from people.errors import LinkNotGood, NotYours, WrongPerson
from people.identities import Identities
from people.models import Invitation, PendingChange, Person
from people.roles import (
    GrantTarget,
    add_grant,
    all_targets,
    check_covers,
    common_target,
    grants_of,
    in_words,
    is_admin_of,
    is_covered_by,
    is_self,
    key_of,
    lock_actor,
    lock_for,
    lock_people,
    record_about,
    target_of,
)
from people.second_admin.changes import put_link_back, take_link
from people.second_admin.registry import (
    CanWait,
    ChangeInWords,
    second_admin,
    wants_second_admin,
)
from people.sign_in.sessions import end_sessions
from people.tokens import hash_of, new_token

# How many days an invitation from the pages is valid, and how long a link for a
# password.
DAYS = 7
PASSWORD_LASTS = timedelta(hours=24)
NOT_GOOD = "This link no longer works."


@dataclass(frozen=True)
class NewLink:
    """A link that was just made. Its URL contains the token, so it can be shown only
    now.
    """

    invitation: Invitation
    url: str = field(repr=False)


@dataclass(frozen=True)
class Link:
    """A link that can be used."""

    invitation: Invitation
    # The person with its address; None if that address has no account.
    person: Person | None
    # What it grants; nothing if it is for a password.
    roles: list[tuple[Role, GrantTarget]]

    @property
    def is_for_password(self) -> bool:
        """Whether it sets a new password, and is not an invitation."""
        return self.invitation.kind == Invitation.Kind.PASSWORD


@atomic_with_retry
@second_admin("Invitation", made=lambda link: link.url, is_link=True)
def invite(
    *,
    actor: Actor,
    email: str,
    name: str,
    roles: Sequence[tuple[Role, GrantTarget]],
    lasts: timedelta,
) -> CanWait[NewLink]:
    """Make an invitation for this address with these roles. The actor's earlier
    invitation for the address becomes void. Raises NotYours.
    """
    current = lock_actor(actor)
    for _, target in roles:
        if not is_admin_of(current, target):
            raise NotYours(f"Only an admin of {target.name} can give roles there.")
    if not roles:
        raise NotYours("Choose at least one role.")
    existing = Person.objects.filter(email=email).first()
    if existing and is_self(current, existing):
        raise NotYours("This is your own address. You cannot give yourself a role.")
    if existing and not existing.is_active:
        raise NotYours(
            "The account with this address is deactivated. Reactivate it on its page."
        )
    if not all_targets().keys() >= {target.value for _, target in roles}:
        raise NotYours("The connection or mailbox of a role is no longer there.")
    common = common_target(target for _, target in roles)
    yield lambda: ChangeInWords(
        title=f"Invite {email}",
        before=in_words(grants_of(existing)) if existing else "not at this desk",
        after=f"{_words(roles)}{', besides the roles of now' if existing else ''}",
        page=reverse("people"),
        connection=common.connection,
        mailbox=common.mailbox,
        subjects=[existing.pk] if existing else [],
    )
    earlier = Invitation.objects.filter(
        kind=Invitation.Kind.JOIN, invited_by_id=key_of(current)
    )
    # Operators invite only the first admin: their new link replaces any earlier one.
    if current.kind == "person":
        earlier = earlier.filter(email=email)
    earlier.withdraw()
    grants = [
        {"role": role, "connection": target.connection, "mailbox": target.mailbox}
        for role, target in roles
    ]
    new_link = _make(current, Invitation(email=email, name=name, grants=grants), lasts)
    details = {
        "email": email,
        "roles": _words(roles),
        "until": f"{new_link.invitation.expires_at:%Y-%m-%d %H:%M} UTC",
    }
    record("person.invited", current, details=details)
    return new_link


@atomic_with_retry
def withdraw(*, actor: Actor, invitation_id: int) -> Invitation:
    """Withdraw a link. One that was used or withdrawn before stays as it is."""
    current = lock_actor(actor)
    invitation = (
        Invitation.objects.select_related("person").filter(pk=invitation_id).first()
    )
    if invitation is None or not may_handle(current, invitation):
        raise NotYours("There is no such invitation, or you do not manage its roles.")
    if Invitation.objects.filter(pk=invitation.pk).withdraw():
        record(
            "person.invitation_withdrawn", current, details={"email": invitation.email}
        )
    return invitation


@atomic_with_retry
@second_admin("Password", made=lambda link: link.url, is_link=True)
def make_password_link(
    *, actor: Actor, person_id: int, by_mail: bool = False
) -> CanWait[NewLink]:
    """Make a link with which a person sets a new password; their earlier one becomes
    void. Their second factor stays. `by_mail` says that the caller mails it, and shows
    it to nobody: only if the person proved their address. Raises NotYours.
    """
    current, person = lock_for(actor, person_id)
    if is_self(current, person):
        raise NotYours("This is your own account. Change your password there.")
    check_covers(current, person)
    if not person.is_active:
        raise NotYours(f"{person} is deactivated. Reactivate them first.")
    if by_mail and person.email_proved_at is None:
        raise NotYours(f"It is not proved that mail reaches {person.email}.")
    target = common_target(target_of(grant) for grant in grants_of(person))
    reader = "who reads their mail" if by_mail else "anybody who has the link"
    yield lambda: ChangeInWords(
        title=f"{person} ({person.email}): link for a new password",
        before="the current password",
        after=f"{reader} chooses a new one; the second factor stays",
        page=reverse("person", args=[person_id]),
        connection=target.connection,
        mailbox=target.mailbox,
        subjects=[person_id],
    )
    Invitation.objects.passwords_of(person).withdraw()
    link = Invitation(
        kind=Invitation.Kind.PASSWORD,
        email=person.email,
        name=person.name,
        person=person,
    )
    new_link = _make(current, link, PASSWORD_LASTS)
    until = f"{new_link.invitation.expires_at:%Y-%m-%d %H:%M} UTC"
    record_about("person.password_link_made", current, person, until=until)
    return new_link


def may_handle(
    actor: Actor,
    invitation: Invitation,
    targets: Mapping[str, GrantTarget] | None = None,
) -> bool:
    """Whether the actor is an admin of all that a link grants. Pass `targets`, all that
    roles can be granted for, to check many links without a query for each.
    """
    if invitation.kind == Invitation.Kind.PASSWORD and invitation.person is not None:
        return is_covered_by(actor, grants_of(invitation.person))
    return all(
        is_admin_of(actor, target)
        for _, target in _stored_roles(invitation, targets)
        or [(Role.ADMIN, GrantTarget())]
    )


def roles_of(
    invitation: Invitation, targets: Mapping[str, GrantTarget] | None = None
) -> str:
    """Return a description of the roles that a link grants."""
    return _words(_stored_roles(invitation, targets)) or in_words([])


def read_link(token: str) -> Link:
    """Return the valid link with this token, without using it: programs that scan mail
    open links too.

    Raises LinkNotGood, with the same sentence for every reason.
    """
    links = Invitation.objects.good().select_related("person", "invited_by")
    invitation = links.filter(token_hash=hash_of(token)).first()
    if invitation is None:
        raise LinkNotGood(NOT_GOOD)
    link = Link(invitation, invitation.person, [])
    if not link.is_for_password:
        person = Person.objects.filter(email=invitation.email).first()
        link = Link(invitation, person, _stored_roles(invitation))
    if not _maker_still_may(link):
        raise LinkNotGood(NOT_GOOD)
    return link


@atomic_with_retry
def join(*, token: str, name: str, password: str, actor: Actor) -> Person:
    """Make an account with a link, and the roles that the link grants. `actor` is the
    visitor, who is not signed in; it has their network address.
    """
    link = _use(token)
    if link.is_for_password or link.person is not None:
        raise LinkNotGood(NOT_GOOD)
    try:
        person = Person.objects.create_user(
            email=link.invitation.email, name=name, password=password
        )
    except IntegrityError:
        # They just joined with another link for the same address. The transaction is
        # rolled back, so this link stays valid.
        raise WrongPerson(
            "An account with this address was created a moment ago. Sign in with it to accept."
        ) from None
    _grant(person, link)
    joined = person.actor(surface=actor.surface, address=actor.address)
    _note_mail(person, link, joined)
    details = {
        "email": person.email,
        "roles": in_words(grants_of(person)),
        "invited_by": _maker(link),
    }
    record("person.joined", joined, details=details, about=person)
    return person


@atomic_with_retry
def accept_roles(*, token: str, actor: Actor) -> None:
    """Grant the signed-in person the roles of a link for their address."""
    link = _use(token)
    person = link.person
    if link.is_for_password or person is None:
        raise LinkNotGood(NOT_GOOD)
    if not is_self(actor, person):
        raise WrongPerson(
            "This link is for a different address from the one you are signed in with."
        )
    before = in_words(grants_of(person))
    _grant(person, link)
    _note_mail(person, link, actor)
    record_about(
        "person.grants_changed",
        actor,
        person,
        before=before,
        invited_by=_maker(link),
        after=in_words(grants_of(person)),
    )


@atomic_with_retry
def set_password(*, token: str, password: str, actor: Actor) -> None:
    """Set a new password with a link, and end all the person's sessions. Their second
    factor stays; an admin can remove it.
    """
    link = _use(token)
    person = link.person
    if not link.is_for_password or person is None:
        raise LinkNotGood(NOT_GOOD)
    person.set_password(password)
    person.save(update_fields=["password"])
    end_sessions(person)
    Invitation.objects.passwords_of(person).withdraw()
    themselves = person.actor(surface=actor.surface, address=actor.address)
    _note_mail(person, link, themselves)
    details = {"email": person.email, "link_by": _maker(link)}
    record("person.password_changed", themselves, details=details, about=person)


def _use(token: str) -> Link:
    """Mark a link as used, and return it. If two requests use it at once, only one
    succeeds; the other gets LinkNotGood.

    The link is read again after its maker and its person are locked, because their
    roles may have changed.
    """
    link = read_link(token)
    invitation = link.invitation
    lock_people(invitation.invited_by_id, link.person.pk if link.person else None)
    link = read_link(token)
    if not Invitation.objects.good().filter(pk=invitation.pk).update(accepted_at=Now()):
        raise LinkNotGood(NOT_GOOD)
    return link


def _note_mail(person: Person, link: Link, actor: Actor) -> None:
    if link.invitation.mailed_at is not None:
        note_proof(person, actor)


def _maker_still_may(link: Link) -> bool:
    """Whether the person who made a link may still grant what it grants, and the person
    whom it is for is active.
    """
    maker = link.invitation.invited_by
    person = link.person
    if person is not None and not person.is_active:
        return False
    if maker is None:
        # The first admin's link is void once there is an admin of everything.
        return not link.is_for_password and not Person.objects.admins_of_all().exists()
    current = maker.actor(surface="web")
    if link.is_for_password:
        return person is not None and is_covered_by(current, grants_of(person))
    return bool(link.roles) and all(
        is_admin_of(current, target) for _, target in link.roles
    )


def _stored_roles(
    invitation: Invitation, targets: Mapping[str, GrantTarget] | None = None
) -> list[tuple[Role, GrantTarget]]:
    """Return the roles of an invitation, without those whose targets are gone."""
    targets = all_targets() if targets is None else targets
    roles = []
    for grant in invitation.grants:
        value = GrantTarget(grant["connection"], grant["mailbox"]).value
        if value in targets:
            roles.append((Role(grant["role"]), targets[value]))
    return roles


def _grant(person: Person, link: Link) -> None:
    for role, target in link.roles:
        add_grant(person, role, target)
    Invitation.objects.filter(pk=link.invitation.pk).update(person=person)


def _make(actor: Actor, invitation: Invitation, lasts: timedelta) -> NewLink:
    token = new_token()
    invitation.token_hash = hash_of(token)
    invitation.invited_by_id = key_of(actor)
    readers = [int(one) for one in (key_of(actor), actor.second) if one]
    invitation.known_to = sorted(Identities().behind(*readers))
    invitation.expires_at = Now() + lasts
    invitation.save()
    invitation.refresh_from_db()
    return NewLink(invitation, f"{settings.PUBLIC_URL}{reverse('join', args=[token])}")


def _maker(link: Link) -> str:
    return str(link.invitation.invited_by or "an operator")


def _words(roles: Iterable[tuple[Role, GrantTarget]]) -> str:
    return ", ".join(f"{role} of {target.name}" for role, target in roles)


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
    if is_read_at_desk(invitation.email):
        raise MailNotSent(
            Failure.NO_SUCH_ADDRESS,
            f"{invitation.email} is a mailbox of this desk, so others could read the link.",
        )
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
    record("person.link_mailed", actor, details=details)


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
