"""Switches on and off that loosening waits for a second admin. Switching it off waits
for one itself.
"""

from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import changed, record
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from people.errors import NotYours
from people.models import OrganisationSettings, Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin

_WORDS = ("Loosening applies at once", "Loosening waits for a second admin")


def organisation_settings() -> OrganisationSettings:
    """Return the settings of the organisation; where nothing was ever set, a row that
    is not stored.
    """
    named = OrganisationSettings.objects.select_related(
        "second_admin_set_by",
        "minimum_set_by",
        "person_figures_set_by",
        "standing_set_by",
    )
    return named.filter(pk=1).first() or OrganisationSettings(pk=1)


def lock_settings() -> OrganisationSettings:
    """Return the settings under a lock, stored if they were not."""
    OrganisationSettings.objects.bulk_create(
        [OrganisationSettings(pk=1)], ignore_conflicts=True
    )
    return OrganisationSettings.objects.select_for_update().get(pk=1)


@atomic_with_retry
@second_admin("Second admin")
def set_second_admin(*, actor: Actor, on: bool) -> CanWait[bool]:
    """Set whether loosening waits for a second admin; return whether that changed.

    Only an admin of everything may, and only while there is another one: otherwise
    nobody could accept anything. Raises NotYours.
    """
    if not actor.is_admin_of_all:
        raise NotYours(
            "Only an admin of everything can set whether changes wait for a second admin."
        )
    locked = lock_settings()
    is_on = locked.second_admin_since is not None
    yield lambda: ChangeInWords(
        title="Changes wait for a second admin: switch off",
        before=_WORDS[is_on],
        after=_WORDS[False],
        page=reverse("pending-changes"),
        tightens=on,
    )
    if is_on == on:
        return False
    if on and not has_another_admin(actor):
        raise NotYours(
            "You are the only admin of everything, so nobody could accept a change. Invite another first."
        )
    locked.second_admin_since = Now() if on else None
    locked.second_admin_set_by_id = int(actor.id)
    locked.save(update_fields=["second_admin_since", "second_admin_set_by"])
    details = changed(before=_WORDS[not on], after=_WORDS[on])
    record("second_admin.set", actor=actor, details=details)
    return True


@atomic_with_retry
def switch_off_by_operator(*, actor: Actor) -> bool:
    """Switch it off on the command line, where no second admin is left; return whether
    it was on.
    """
    locked = lock_settings()
    if locked.second_admin_since is None:
        return False
    locked.second_admin_since = None
    locked.second_admin_set_by = None
    locked.save(update_fields=["second_admin_since", "second_admin_set_by"])
    details = changed(before=_WORDS[True], after=_WORDS[False])
    record("second_admin.set", actor=actor, details=details)
    return True


def has_another_admin(actor: Actor) -> bool:
    """Whether there is an active admin of everything other than the actor."""
    return Person.objects.admins_of_all().exclude(pk=int(actor.id)).exists()
