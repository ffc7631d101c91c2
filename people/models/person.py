"""The models of people: accounts, roles and the history of roles, second-factor rules,
recovery codes, chat accounts, and one-time links.

Only database triggers, which a migration of this app defines, write the history of
roles (`GrantPeriod`). It has no foreign keys, so that its rows stay when their person,
connection or mailbox is deleted.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Self
from unicodedata import normalize

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Lower, Now
from django.utils import timezone

from common.actors import ROLE_CHOICES, Actor, Role, Scope
from common.postgres import one_of
from mirror.models import Mailbox, ScopeModel


class PersonManager(BaseUserManager["Person"]):
    """Creates people. Addresses are stored in lower case, so that one person has one
    account.
    """

    def create_user(self, *, email: str, name: str, password: str | None) -> "Person":
        person = self.model(email=email.strip().lower(), name=name)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def locked(self, actor: Actor) -> "Person":
        """Return the person who acts, locked until the transaction ends."""
        return self.select_for_update().get(pk=actor.person_id)

    def seeing(self, *, connection: int, mailbox: int | None) -> "QuerySet[Person]":
        """Return active people with any role that includes this mailbox of this
        connection, or the whole connection if `mailbox` is None; by name.
        """
        includes_it = Q(connection=None) | Q(connection=connection)
        includes_it &= Q(mailbox=None)
        if mailbox is not None:
            includes_it |= Q(mailbox=mailbox)
        people = Grant.objects.filter(includes_it).values("person")
        return self.filter(is_active=True, pk__in=people).order_by(
            "name", "email", "pk"
        )

    def read_by(self, actor: Actor) -> "QuerySet[Person]":
        """Return the people that the actor may see: those with a role within their
        scope as admin or auditor.
        """
        scopes = actor.acting_as(Role.ADMIN, Role.AUDITOR).scopes
        if any(scope.is_everywhere for scope in scopes):
            return self.all()
        if not scopes:
            return self.none()
        visible = Q(connection=None, mailbox=None)
        for scope in scopes:
            if scope.mailbox is not None:
                visible |= Q(mailbox=scope.mailbox)
                visible |= Q(connection__mailboxes=scope.mailbox)
            else:
                visible |= Q(connection=scope.connection)
                visible |= Q(mailbox__connection=scope.connection)
        return self.filter(pk__in=Grant.objects.filter(visible).values("person"))

    def admins_of_all(self) -> "QuerySet[Person]":
        """Return the active admins of everything."""
        grants = Grant.objects.filter(role=Role.ADMIN, connection=None, mailbox=None)
        return self.filter(is_active=True, pk__in=grants.values("person"))

    def present(self, at: datetime | None = None) -> "QuerySet[Person]":
        """Return active people who are not out of office then; without a time now, by
        the database's clock.
        """
        then = at or Now()
        return self.filter(is_active=True).exclude(
            away_from__lte=then, away_until__gt=then
        )

    def get_by_natural_key(self, username: str | None) -> "Person":
        return self.get(email=(username or "").lower())


class Person(AbstractBaseUser):
    """A person who signs in to the desk."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=80)
    is_active = models.BooleanField(default=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    joined_at = models.DateTimeField(db_default=Now())
    # Whether single-key shortcuts are switched off.
    keys_off = models.BooleanField(default=False)

    # Out of office: nothing is assigned to them meanwhile. They set it on their account
    # page.
    away_from = models.DateTimeField(null=True)
    away_until = models.DateTimeField(null=True)
    # When a message was last assigned to them in turn.
    assigned_at = models.DateTimeField(null=True)
    # When an operator confirmed that nobody else can sign in with this account. Links
    # that were used before make it count as nobody else (`people.identities`).
    confirmed_at = models.DateTimeField(null=True)
    # When they last used a link that was mailed to their address and shown to nobody.
    email_proved_at = models.DateTimeField(null=True)

    USERNAME_FIELD = "email"

    objects = PersonManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="person_email_once")
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password and normalize("NFC", raw_password))

    def check_password(self, raw_password: str | None) -> bool:
        """Whether this is the password. Keyboards write some letters in one character
        or in two; older passwords were stored as they were typed.
        """
        check = super().check_password
        typed = raw_password or ""
        return any(map(check, {normalize("NFC", typed), typed}))

    @property
    def initials(self) -> str:
        """The initials for a small badge, at most two letters."""
        words = (self.name or self.email).split()
        second = words[-1][0] if len(words) > 1 else words[0][1:2]
        return f"{words[0][0]}{second}".upper()

    def actor(
        self, *, surface: str, address: str = "", scopes: Iterable[Scope] | None = None
    ) -> Actor:
        """Return the frozen actor that commands get, with the person's roles. Pass
        `scopes` if the roles have just been read.
        """
        if scopes is None:
            grants = self.grants.all() if self.is_active else ()
            scopes = [grant.scope for grant in grants]
        return Actor(
            kind="person",
            id=str(self.pk),
            label=str(self),
            surface=surface,
            address=address,
            scopes=tuple(scopes),
        )

    def current_scopes(self) -> list[Scope]:
        """Read the roles that the person has now; none if they are deactivated."""
        granted = Grant.objects.filter(person=self.pk, person__is_active=True)
        return [grant.scope for grant in granted]


class Grant(ScopeModel):
    """A role of a person: for everything, or for one connection or mailbox."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=10, choices=ROLE_CHOICES)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "role", "connection", "mailbox"],
                nulls_distinct=False,
                name="grant_once",
            ),
            one_of("role", list(Role), "grant_role_known"),
        ]

    @property
    def scope(self) -> Scope:
        """The role and where it applies."""
        return Scope(
            role=Role(self.role), connection=self.connection_id, mailbox=self.mailbox_id
        )


class RoleRule(models.Model):
    """Whether a role needs a second factor. Without a row it does not."""

    role = models.CharField(max_length=10, primary_key=True, choices=ROLE_CHOICES)
    needs_second_factor = models.BooleanField(default=False)
    changed_by = models.ForeignKey(
        Person, null=True, on_delete=models.PROTECT, related_name="+"
    )
    changed_at = models.DateTimeField(db_default=Now())


class RecoveryCode(models.Model):
    """A one-time code that replaces a lost second factor. Only its hash is stored."""

    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="recovery_codes"
    )
    digest = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())
    used_at = models.DateTimeField(null=True)


class ChatService(models.TextChoices):
    """The chat services on which people press the buttons of cards."""

    DISCORD = "discord", "Discord"
    SLACK = "slack", "Slack"


class ChatIdentity(models.Model):
    """Names an account of a chat service. `account_id` is Discord's id of the user, or
    Slack's of the workspace and the user with a colon between them.
    """

    service = models.CharField(max_length=8, choices=ChatService)
    account_id = models.CharField(max_length=64)
    name = models.CharField(max_length=100)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name or self.account_id


class ChatAccount(ChatIdentity):
    """An account of a chat service that belongs to a person of the desk, and to one
    person only.
    """

    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="chat_accounts"
    )
    linked_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "account_id"], name="chat_account_is_of_one_person"
            )
        ]


class ChatLink(ChatIdentity):
    """A link that was sent to an account of a chat service. The signed-in person who
    confirms it is linked to the account.
    """

    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()


# How long an expired, unused link stays in the list.
LISTED = timedelta(days=30)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Queries of one-time links; the database's clock decides whether one has
    expired.
    """

    def unanswered(self) -> Self:
        """Links that were neither used nor withdrawn; they may have expired."""
        return self.filter(accepted_at=None, withdrawn_at=None)

    def good(self) -> Self:
        """Links that can be used: they were neither used nor withdrawn, and have not
        expired.
        """
        return self.unanswered().filter(expires_at__gt=Now())

    def to_list(self) -> Self:
        """Unused invitations, newest first, without those that expired long ago."""
        joins = self.unanswered().filter(
            kind=Invitation.Kind.JOIN, expires_at__gt=Now() - LISTED
        )
        return joins.select_related("invited_by").order_by("-pk")

    def passwords_of(self, person: Person) -> Self:
        """A person's links for a new password."""
        return self.filter(kind=Invitation.Kind.PASSWORD, person=person)

    def that_set_passwords(self) -> Self:
        """Links that set the password of an account, and that people could read."""
        # The link to join that made the account set its password too.
        has_set_password = Q(kind=Invitation.Kind.PASSWORD) | Q(
            kind=Invitation.Kind.JOIN, accepted_at__lte=F("person__joined_at")
        )
        used = self.filter(has_set_password, accepted_at__isnull=False)
        return used.exclude(known_to=[])

    def withdraw(self) -> int:
        """Withdraw all that were neither used nor withdrawn, and return how many these
        were.
        """
        return self.unanswered().update(withdrawn_at=Now())


class Invitation(models.Model):
    """A one-time link, to join or to set a new password, that is valid until a date and
    for one address. Only the hash of its token is stored.
    """

    class Kind(models.TextChoices):
        JOIN = "join", "Join the desk"
        PASSWORD = "password", "Set a new password"

    kind = models.CharField(max_length=10, choices=Kind, default=Kind.JOIN)
    email = models.EmailField()
    name = models.CharField(max_length=80)
    token_hash = models.CharField(max_length=64, unique=True)
    # The roles of the person who joins: [{"role": "reviewer", "connection": null,
    # "mailbox": 7}].
    grants = models.JSONField(default=list)
    # The person whose password it sets, or who used it to join or to get its roles.
    person = models.ForeignKey(
        Person, null=True, on_delete=models.CASCADE, related_name="invitations"
    )
    # Null for the first admin's link, which is made on the command line.
    invited_by = models.ForeignKey(
        Person, null=True, on_delete=models.PROTECT, related_name="+"
    )
    # The keys of the people who can read its token or half of it, with everybody whom
    # they counted as when it was made.
    known_to = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    # When it was mailed to its address. Then the desk showed it to nobody.
    mailed_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [one_of("kind", ["join", "password"], "invitation_kind_known")]

    @property
    def is_over(self) -> bool:
        """Whether it has expired."""
        return self.expires_at <= timezone.now()


class GrantPeriodQuerySet(models.QuerySet["GrantPeriod"]):
    def in_force_at(self, at: datetime) -> Self:
        """Periods that include this moment. A period includes its start and excludes
        its end.
        """
        return self.filter(Q(until=None) | Q(until__gt=at), since__lte=at)

    def reaching(self, *, connection: int | None, mailbox: int | None) -> Self:
        """Periods of roles that include a target; without connection and mailbox,
        periods of roles for everything.
        """
        includes_it = Q(connection=None)
        if connection is not None:
            includes_it |= Q(connection=connection, mailbox=None)
        if mailbox is not None:
            includes_it |= Q(mailbox=mailbox)
        return self.filter(includes_it)

    def read_by(self, actor: Actor) -> Self:
        """Periods within the actor's visible scope as admin or auditor, as in
        `PersonManager.read_by`.
        """
        scopes = actor.acting_as(Role.ADMIN, Role.AUDITOR).scopes
        if any(scope.is_everywhere for scope in scopes):
            return self
        if not scopes:
            return self.none()
        visible = Q(connection=None)
        for scope in scopes:
            if scope.mailbox is not None:
                its_connection = Mailbox.objects.filter(pk=scope.mailbox).values(
                    "connection"
                )
                visible |= Q(mailbox=scope.mailbox)
                visible |= Q(connection__in=its_connection, mailbox=None)
            else:
                visible |= Q(connection=scope.connection)
        return self.filter(visible)


class GrantPeriod(models.Model):
    """A period in which a person had a role; without an end, they have it now.

    While a person is deactivated, no role is in force; reactivating them begins another
    period.
    """

    class Began(models.TextChoices):
        GIVEN = "given", "Given"
        CHANGED = "changed", "Changed to this"
        REACTIVATED = "reactivated", "Reactivated"
        # The grant is older than this table; `Grant.created_at` says since when.
        FOUND = "found", "Given"

    class Ended(models.TextChoices):
        TAKEN = "taken", "Removed"
        CHANGED = "changed", "Changed to another"
        DEACTIVATED = "deactivated", "Deactivated"

    # The grant's key. Two periods share it if its person was deactivated in between.
    grant = models.BigIntegerField()
    person = models.BigIntegerField()
    # The person's name at the start.
    name = models.CharField(max_length=80)
    email = models.CharField(max_length=254)
    role = models.CharField(max_length=10)
    # A mailbox is stored together with its connection; neither means everything.
    connection = models.BigIntegerField(null=True)
    mailbox = models.BigIntegerField(null=True)
    # The target's name at the start.
    place = models.CharField(max_length=320)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    began = models.CharField(max_length=12, choices=Began)
    ended = models.CharField(max_length=12, choices=Ended)

    objects = GrantPeriodQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["grant"], condition=Q(until=None), name="grant_period_once"
            ),
            models.CheckConstraint(
                condition=Q(until=None, ended="")
                | Q(until__gte=models.F("since")) & ~Q(ended=""),
                name="grant_period_ends_late",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "since"], name="grant_period_person"),
            # Skips periods that ended before the requested moment.
            models.Index(fields=["until", "since"], name="grant_period_moment"),
        ]
