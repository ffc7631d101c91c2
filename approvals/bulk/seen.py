"""Which messages of a sheet its person has read, by the ledger, and what that lets them
approve.

A message counts as read when its version was open on its own page, or on screen on a
sheet with all of it in view. That a sheet was loaded is recorded too, and counts for
nothing.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import transaction

from approvals.bulk.sheet import OnSheet, Sheet
from approvals.decisions.shown import OPENED, SERVED, has_links, links_key
from approvals.desk_messages import desk_messages
from approvals.models import OpenedPart
from audit.trail import recorded_versions
from common.actors import Actor
from mirror.errors import DeskError
from mirror.models import Message
from mirror.recording import record_about


class UnreadNotCounted(DeskError):
    """What is asked for would approve unread messages, and their number was not typed,
    or is another.
    """


def read_on(items: Sequence[OnSheet], *, actor: Actor) -> frozenset[UUID]:
    """Return which of these messages the actor has read, each in the version that
    stands on the sheet.
    """
    opened = recorded_versions(
        messages=[one.message for one in items], actions=[OPENED], actor_id=actor.id
    )
    return frozenset(
        one.message for one in items if (OPENED, one.message, one.fingerprint) in opened
    )


@transaction.atomic
def note_loaded(
    messages: Sequence[Message], *, sheet: Sheet, actor: Actor
) -> frozenset[UUID]:
    """Record that the actor's browser loaded these messages, each once a person and
    version; return those read before.

    Nobody may have looked at the sheet yet.
    """
    known = recorded_versions(
        messages=[one.public_id for one in messages],
        actions=[SERVED, OPENED],
        actor_id=actor.id,
    )
    read = set()
    for one in messages:
        version = one.fingerprint
        if (OPENED, one.public_id, version) in known:
            read.add(one.public_id)
        elif (SERVED, one.public_id, version) not in known:
            record_about(
                SERVED,
                one,
                actor=actor,
                fingerprint=version,
                details={"sheet": sheet.id},
            )
    return frozenset(read)


@transaction.atomic
def note_read(sheet: Sheet, shown: Sequence[OnSheet], *, actor: Actor) -> None:
    """Record that these messages of the sheet were on the actor's screen, with their
    links; each once a version.

    One that stands there by its differences counts only after the message that is shown
    whole in its place was read.
    """
    known = read_on(sheet.items, actor=actor)
    whole = known | {one.message for one in shown if one.like is None}
    new = {
        one.message: one
        for one in shown
        if one.message not in known and (one.like is None or one.like in whole)
    }
    messages = (
        desk_messages()
        .visible_to(actor)
        .select_related("revision")
        .filter(public_id__in=new)
    )
    links = []
    for message in messages.order_by("pk"):
        one = new[message.public_id]
        details = {"sheet": sheet.id, "like": str(one.like or "")}
        record_about(
            OPENED, message, actor=actor, fingerprint=one.fingerprint, details=details
        )
        if (
            message.revision
            and message.revision.fingerprint == one.fingerprint
            and has_links(message.revision.content)
        ):
            links.append(
                OpenedPart(
                    message=message, person_id=int(actor.id), part=links_key(message)
                )
            )
    OpenedPart.objects.bulk_create(links, ignore_conflicts=True)


def approvable(
    ticked: Sequence[OnSheet],
    *,
    read: Collection[UUID],
    counted: Collection[UUID],
    with_unread: bool,
    typed: int,
) -> tuple[OnSheet, ...]:
    """Return the ticked messages to approve: those `read` and counted on the page, or
    all with the number of unread.

    Raises UnreadNotCounted where none is read, or where `typed` is not how many of them
    are unread now. Messages that have to be opened by themselves are returned too: each
    is refused with its reason.
    """
    unread = sum(one.message not in read for one in ticked if not one.why_alone)
    if with_unread:
        if typed != unread:
            are = f"{unread} of the ticked messages {'is' if unread == 1 else 'are'} unread"
            if not typed:
                raise UnreadNotCounted(
                    f"Nothing was approved: {are}. Type that number to approve them too."
                )
            raise UnreadNotCounted(
                f"Nothing was approved: you typed {typed}, and {are}."
            )
        return tuple(ticked)
    chosen = tuple(
        one
        for one in ticked
        if one.why_alone or (one.message in read and one.message in counted)
    )
    if unread and all(one.why_alone for one in chosen):
        raise UnreadNotCounted(
            "You have not read any of the ticked messages, so nothing was approved. Read them here or open them, or "
            "type how many are unread."
        )
    return chosen
