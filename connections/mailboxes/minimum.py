"""The organisation's minimum oversight mode: setting it, the mailboxes below it, and raising them."""

from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now

from audit.recording import changed, record
from common.postgres.retry import atomic_with_retry
from connections.errors import ChangeRefused
from connections.mailboxes.commands import change_mailbox
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from mirror.oversight_modes import AUTONOMOUS, NAMES, is_looser, is_minimum_lower, mode_words
from people.actors import Actor, Role
from people.second_admin.asking import AskedChange, SecondAdminNeeded, wants_second_admin
from people.second_admin.kinds import ChangeKind
from people.second_admin.setting import ORGANISATION, lock_settings, organisation_settings
from policy.gate_minimum import compare_soon

_ANY = "any mode"


@dataclass(frozen=True)
class BelowMinimum:
    """A mailbox below the minimum; `why_not` says why the actor cannot raise it here, empty where they can."""

    mailbox: Mailbox
    why_not: str


@atomic_with_retry
def set_minimum(*, actor: Actor, mode: str, based_on: str | None = None) -> bool:
    """Set the loosest mode that a mailbox can have, empty for any; return whether that changed.

    Mailboxes that are below it stay so until they are raised. Raises ActNotAllowed, ChangeRefused where the minimum is
    no longer `based_on`, and SecondAdminNeeded for a lower minimum where the organisation wants two admins for that.
    """
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can set the minimum.")
    if mode and mode not in NAMES:
        raise ChangeRefused("This is not an oversight mode.")
    locked = lock_settings()
    before = locked.minimum_oversight
    if based_on is not None and based_on != before:
        raise ChangeRefused(f"The minimum has changed since this was asked: it is {mode_words(before) or _ANY}.")
    if mode == before:
        return False
    if is_minimum_lower(mode, than=before) and wants_second_admin(actor):
        raise SecondAdminNeeded(_lowering(before, mode))
    locked.minimum_oversight, locked.minimum_set_at, locked.minimum_set_by_id = mode, Now(), int(actor.id)
    locked.save(update_fields=["minimum_oversight", "minimum_set_at", "minimum_set_by"])
    compare_soon()
    record("oversight_minimum.set", actor=actor, details=changed(before=before or _ANY, after=mode or _ANY))
    return True


def mailboxes_below(actor: Actor) -> list[BelowMinimum]:
    """Return the mailboxes below the minimum that the actor sees, by address."""
    below = Mailbox.objects.visible_to(actor).below_minimum().select_related("connection")
    return [BelowMinimum(one, _why_not(one, actor)) for one in below.order_by("address", "pk")]


def raise_to_minimum(*, mailbox: Mailbox, actor: Actor) -> Mailbox:
    """Give a mailbox the minimum, and switch off that a call may loosen it. Raises as change_mailbox does."""
    minimum = organisation_settings().minimum_oversight
    changes: dict[str, Any] = {}
    if minimum and is_looser(mailbox.oversight_mode, than=minimum):
        changes["oversight_mode"] = minimum
    if minimum and minimum != AUTONOMOUS and mailbox.allow_looser_per_call:
        changes["allow_looser_per_call"] = False
    return change_mailbox(mailbox=mailbox, actor=actor, changes=changes)


def _why_not(mailbox: Mailbox, actor: Actor) -> str:
    connection = mailbox.connection
    if not actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=mailbox.pk):
        return "Only an admin of this mailbox can raise it."
    return "" if connection.admin_key else f"{connection} has no admin key, so it cannot be changed from here."


def _lowering(before: str, after: str) -> AskedChange:
    return AskedChange(
        kind="oversight_minimum",
        target=ORGANISATION,
        title="Minimum oversight mode of the organisation",
        before=mode_words(before) or _ANY,
        after=mode_words(after) or _ANY,
        change={"before": before, "after": after},
        url_name="oversight-minimum",
    )


def _lower_accepted(change: dict[str, Any], actor: Actor, code: str) -> object:
    return set_minimum(actor=actor, mode=change["after"], based_on=change["before"])


MINIMUM_CHANGE = ChangeKind("Minimum oversight", _lower_accepted, refusals=(ActNotAllowed, ChangeRefused))
