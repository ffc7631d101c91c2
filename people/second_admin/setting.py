"""Three settings of the organisation.

The first is whether changes that loosen something wait for a second admin. Switching
that off waits for a second admin itself. The second is whether figures of single people
are shown. They are not, until an admin of everything says that law and agreements allow
it: until then nobody sees such a figure on any page or in any file, and figures of
teams of three and more are shown. The third is whether mails to people name the
subjects of messages.
"""

from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry
from people.errors import NoOtherAdmin, NotYours, ReasonNeeded
from people.identities import Identities
from people.models import OrganisationSettings, Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

# What the first setting means, if it is off and if it is on.
_LOOSENING = ("Loosening applies at once", "Loosening waits for a second admin")


def organisation_settings() -> OrganisationSettings:
    """Return the settings of the organisation. If nothing was ever set, return a row
    that is not stored.
    """
    with_people = OrganisationSettings.objects.select_related(
        "second_admin_set_by", "person_figures_set_by"
    )
    return with_people.filter(pk=1).first() or OrganisationSettings(pk=1)


def _lock(actor: Actor) -> OrganisationSettings:
    """Return the settings, locked until the transaction ends. The row is stored if
    there was none. Raises NotYours unless the actor is an admin of everything, or the
    operator.
    """
    if actor.kind != "command" and not actor.is_admin_of_all:
        raise NotYours("Only an admin of everything can change this setting.")
    OrganisationSettings.objects.bulk_create(
        [OrganisationSettings(pk=1)], ignore_conflicts=True
    )
    return OrganisationSettings.objects.select_for_update().get(pk=1)


@atomic_with_retry
@second_admin("Second admin")
def set_second_admin(*, actor: Actor, on: bool) -> CanWait[None]:
    """Set whether loosening waits for a second admin.

    Only an admin of everything may do this, and switch it on only while there is
    another such admin: otherwise nobody could accept anything. Raises NotYours.
    """
    locked = _lock(actor)
    is_on = locked.second_admin_since is not None
    yield lambda: ChangeInWords(
        title="Changes wait for a second admin: switch off",
        before=_LOOSENING[is_on],
        after=_LOOSENING[False],
        page=reverse("pending-changes"),
        tightens=on,
    )
    if is_on == on:
        return
    if on and not has_another_admin(actor):
        raise NoOtherAdmin(
            "No other admin of everything could accept a change. Invite one first, or have those who count as one "
            "person with you set a second factor."
        )
    _switch(locked, actor, on=on)


@atomic_with_retry
def switch_off_by_operator(*, actor: Actor) -> None:
    """Let loosening apply at once again, on the command line, when no second admin is
    left.
    """
    locked = _lock(actor)
    if locked.second_admin_since is not None:
        _switch(locked, actor, on=False)


def _switch(locked: OrganisationSettings, actor: Actor, *, on: bool) -> None:
    locked.second_admin_since = Now() if on else None
    locked.second_admin_set_by_id = actor.person_id if actor.kind == "person" else None
    locked.save()
    details = {"before": _LOOSENING[not on], "after": _LOOSENING[on]}
    record("second_admin.set", actor, details=details)


def has_another_admin(actor: Actor) -> bool:
    """Whether another person than the actor is an active admin of everything."""
    own = Identities().same_as([actor.person_id])
    return Person.objects.admins_of_all().exclude(pk__in=own).exists()


# In characters.
MAX_REASON = 1000
# Figures of fewer people than this would reveal figures of single people.
FEWEST = 3
# What the second setting means, if it is off and if it is on.
_FIGURES = ("Team figures only", "Individual figures, too")


def shows_people() -> bool:
    """Whether figures of single people are shown to admins and auditors."""
    return organisation_settings().person_figures_since is not None


@atomic_with_retry
@second_admin("Individual figures")
def set_person_figures(*, actor: Actor, on: bool, because: str) -> CanWait[None]:
    """Show figures of single people, or of teams only.

    `because` names the law or the agreement that allows it, and is required to show
    them. Raises NotYours without it, and if the actor is no admin of everything.
    """
    because = because.strip()[:MAX_REASON]
    locked = _lock(actor)
    if on and not because:
        raise ReasonNeeded(
            "Name the law or the works agreement that allows individual figures."
        )
    is_on = locked.person_figures_since is not None
    yield lambda: ChangeInWords(
        title="Individual figures",
        before=_FIGURES[is_on],
        after=f"{_FIGURES[True]}, because: {because}",
        page=reverse("report-decisions"),
        tightens=is_on or not on,
    )
    if is_on == on:
        return
    locked.person_figures_since = Now() if on else None
    locked.person_figures_set_by_id = actor.person_id
    locked.person_figures_because = because if on else ""
    locked.save()
    details = {"before": _FIGURES[not on], "after": _FIGURES[on], "reason": because}
    record("person_figures.set", actor, details=details)


_SUBJECTS = ("Mails name no subjects and senders", "Mails name subjects and senders")


def mails_name_subjects() -> bool:
    """Whether mails to people name the subjects of messages, and who sends them."""
    return organisation_settings().mails_name_subjects


@atomic_with_retry
@second_admin("Mails to people")
def set_mail_subjects(*, actor: Actor, on: bool) -> CanWait[None]:
    """Set whether mails to people name the subjects of messages, and who sends them.
    Raises NotYours if the actor is no admin of everything.
    """
    locked = _lock(actor)
    is_on = locked.mails_name_subjects
    yield lambda: ChangeInWords(
        title="Subjects in mails to people",
        before=_SUBJECTS[is_on],
        after=_SUBJECTS[on],
        page=reverse("alerts"),
        tightens=is_on or not on,
    )
    if is_on != on:
        locked.mails_name_subjects = on
        locked.save()
        details = {"before": _SUBJECTS[is_on], "after": _SUBJECTS[on]}
        record("mail_subjects.set", actor, details=details)
