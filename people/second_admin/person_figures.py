"""Whether figures of single people are shown: off, until an admin of everything says
that law and agreements allow it.

While it is off nobody sees such a figure, on any page or in any file; figures of teams
of three and more are shown.
"""

from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import changed, record
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from people.errors import NotYours
from people.models import OrganisationSettings
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.second_admin.setting import lock_settings

MAX_REASON = 1000
# Figures of fewer people than this would say something of single ones.
FEWEST = 3
_WORDS = ("Figures of teams only", "Figures of single people too")


def shows_people() -> bool:
    """Whether figures of single people are shown to admins and auditors."""
    return OrganisationSettings.objects.filter(
        person_figures_since__isnull=False
    ).exists()


@atomic_with_retry
@second_admin("Figures of single people")
def set_person_figures(*, actor: Actor, on: bool, because: str = "") -> CanWait[bool]:
    """Show figures of single people, or of teams only; return whether that changed.

    `because` names the law or the agreement that allows it. Raises NotYours for anybody
    but an admin of everything, or without that reason.
    """
    because = because.strip()[:MAX_REASON]
    if not actor.is_admin_of_all:
        raise NotYours(
            "Only an admin of everything can set whether figures of single people are shown."
        )
    if on and not because:
        raise NotYours(
            "Name the law or the works agreement that allows figures of single people."
        )
    locked = lock_settings()
    is_on = locked.person_figures_since is not None
    yield lambda: ChangeInWords(
        title="Figures of single people",
        before=_WORDS[is_on],
        after=f"{_WORDS[True]}, because: {because}",
        page=reverse("report-decisions"),
        tightens=is_on or not on,
    )
    if is_on == on:
        return False
    locked.person_figures_since = Now() if on else None
    locked.person_figures_set_by_id = int(actor.id)
    locked.person_figures_because = because if on else ""
    fields = ["person_figures_since", "person_figures_set_by", "person_figures_because"]
    locked.save(update_fields=fields)
    details = {**changed(before=_WORDS[not on], after=_WORDS[on]), "reason": because}
    record("person_figures.set", actor=actor, details=details)
    return True
