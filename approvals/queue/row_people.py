"""What the rows of a list show of the people around them: who reads, what was put off until when, and who asks."""

from dataclasses import replace

from approvals.collaboration.presence import readers_beside
from approvals.models import Question, Snooze
from approvals.queue.rows import Row
from people.actors import Actor

# Elsewhere nothing is read or put off.
_TABS = ("waiting", "mine")


def with_people(rows: list[Row], *, actor: Actor, tab: str) -> list[Row]:
    """Return the rows with who else reads each; in Mine also with why each stands there, in two more queries."""
    if not rows or tab not in _TABS or actor.kind != "person":
        return rows
    readers = readers_beside(actor)
    shown = [row.message.pk for row in rows] if tab == "mine" else []
    person = int(actor.id)
    put_off = {one.message_id: one for one in Snooze.objects.of_person(person).in_force().among(shown)} if shown else {}
    asked = Question.objects.of_person(person).among(shown).with_comments() if shown else []
    asking = {one.message_id: str(one.comment.person) for one in asked}
    return (
        [
            replace(
                row,
                readers=tuple(readers.get(str(row.message.public_id), ())),
                put_off=put_off.get(row.message.pk),
                asked_by=asking.get(row.message.pk, ""),
            )
            for row in rows
        ]
        if readers or put_off or asking
        else rows
    )
