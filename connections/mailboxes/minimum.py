"""The organisation's minimum oversight mode: setting it, the mailboxes below it, and
raising them.
"""

from typing import Any

from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry
from connections.changes import is_admin
from connections.errors import ChangeRefused
from connections.mailboxes.commands import change_mailbox
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from mirror.oversight_modes import (
    AUTONOMOUS,
    NAMES,
    is_looser,
    is_minimum_lower,
    mode_words,
)
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.second_admin.setting import lock_settings, organisation_settings
from policy.gate_minimum import compare_soon

_ANY = "any mode"


@atomic_with_retry
@second_admin("Minimum oversight")
def set_minimum(*, actor: Actor, mode: str) -> CanWait[bool]:
    """Set the loosest mode that a mailbox can have, empty for any; return whether that
    changed.

    Mailboxes that are below it stay so until they are raised. Raises ActNotAllowed,
    ChangeRefused.
    """
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can set the minimum.")
    if mode and mode not in NAMES:
        raise ChangeRefused("This is not an oversight mode.")
    locked = lock_settings()
    before = locked.minimum_oversight
    yield lambda: ChangeInWords(
        title="Minimum oversight mode of the organisation",
        before=mode_words(before) or _ANY,
        after=mode_words(mode) or _ANY,
        page=reverse("oversight-minimum"),
        tightens=not is_minimum_lower(mode, than=before),
    )
    if mode == before:
        return False
    locked.minimum_oversight = mode
    locked.minimum_set_at = Now()
    locked.minimum_set_by_id = int(actor.id)
    locked.save()
    compare_soon()
    details = {"before": before or _ANY, "after": mode or _ANY}
    record("oversight_minimum.set", actor=actor, details=details)
    return True


def mailboxes_below(actor: Actor) -> list[tuple[Mailbox, str]]:
    """Return the mailboxes below the minimum that the actor sees, by address.

    Each has with it why the actor cannot raise it here; empty where they can.
    """
    minimum = organisation_settings().minimum_oversight
    below = Mailbox.objects.visible_to(actor).below_minimum(minimum)
    rows = []
    for mailbox in below.select_related("connection").order_by("address", "pk"):
        connection = mailbox.connection
        why_not = ""
        if not is_admin(actor, connection, mailbox.pk):
            why_not = "Only an admin of this mailbox can raise it."
        elif not connection.admin_key:
            why_not = (
                f"{connection} has no admin key, so it cannot be changed from here."
            )
        rows.append((mailbox, why_not))
    return rows


def raise_to_minimum(*, mailbox: Mailbox, actor: Actor) -> Mailbox:
    """Give a mailbox the minimum, and switch off that a call may loosen it. Raises as
    change_mailbox does.
    """
    minimum = organisation_settings().minimum_oversight
    changes: dict[str, Any] = {}
    if minimum and is_looser(mailbox.oversight_mode, than=minimum):
        changes["oversight_mode"] = minimum
    if minimum and minimum != AUTONOMOUS and mailbox.allow_looser_per_call:
        changes["allow_looser_per_call"] = False
    return change_mailbox(mailbox=mailbox, actor=actor, changes=changes)
