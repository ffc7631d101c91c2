"""Whether figures of single people are shown: off, until an admin of everything says
that law and agreements allow it.

While it is off nobody sees such a figure, on any page or in any file; figures of teams
of three and more are shown.
"""

from typing import Any

from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import changed, record
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from people.errors import NotYours
from people.models import OrganisationSettings
from people.second_admin.registry import ChangeInWords, second_admin
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


def _switching_on(*, actor: Actor, because: str, **_: Any) -> ChangeInWords:
    _check_may_set(actor, because)
    return ChangeInWords(
        title="Figures of single people",
        before=_WORDS[shows_people()],
        after=f"{_WORDS[True]}, because: {because.strip()[:MAX_REASON]}",
        page=reverse("report-decisions"),
    )


def _check_may_set(actor: Actor, because: str | None) -> None:
    if not actor.is_admin_of_all:
        raise NotYours(
            "Only an admin of everything can set whether figures of single people are shown."
        )
    if because is not None and not because.strip():
        raise NotYours(
            "Name the law or the works agreement that allows figures of single people."
        )


@atomic_with_retry
@second_admin(
    "Figures of single people",
    words=_switching_on,
    tightens=lambda on, **_: not on or shows_people(),
)
def set_person_figures(*, actor: Actor, on: bool, because: str = "") -> bool:
    """Show figures of single people, or of teams only; return whether that changed.

    `because` names the law or the agreement that allows it. Raises NotYours for anybody
    but an admin of everything, or without that reason.
    """
    _check_may_set(actor, because if on else None)
    because = because.strip()[:MAX_REASON]
    locked = lock_settings()
    if (locked.person_figures_since is not None) == on:
        return False
    locked.person_figures_since = Now() if on else None
    locked.person_figures_set_by_id = int(actor.id)
    locked.person_figures_because = because if on else ""
    fields = ["person_figures_since", "person_figures_set_by", "person_figures_because"]
    locked.save(update_fields=fields)
    details = {**changed(before=_WORDS[not on], after=_WORDS[on]), "reason": because}
    record("person_figures.set", actor=actor, details=details)
    return True
