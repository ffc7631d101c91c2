"""Says why decisions are not carried out although their time has come."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from approvals.models import Decision
from mirror.models import Connection, Message
from people.actors import Actor
from policy.models import KillSwitch


@dataclass(frozen=True)
class Cause:
    """What keeps a decision. `place` is the page of that cause, empty where none is known."""

    why: str
    advice: str
    place: str = ""
    label: str = ""


def stalled(actor: Actor, now: datetime, *, at_most: int) -> Iterator[tuple[Decision, Cause]]:
    """Return what should have been carried out and was not, within the actor's reach, oldest first, with its cause."""
    switches = list(KillSwitch.objects.pulled().select_related("pulled_by", "connection", "mailbox"))
    for decision in Decision.objects.visible_to(actor).stalled().with_message().order_by("due_at")[:at_most]:
        yield decision, _cause(decision, switches, now)


def _cause(decision: Decision, switches: list[KillSwitch], now: datetime) -> Cause:
    message, connection = decision.message, decision.message.connection
    for switch in switches:
        if _stops(switch, message):
            why = f"{switch.pulled_by} pulled the {switch}: {switch.reason}"
            advice = "They leave once it is released; until then each can be undone on its page."
            return Cause(why, advice, reverse("stop"), "See the kill switch")
    if waiting := _waiting(connection, now):
        place = f"{reverse('connections')}#connection-{connection.pk}"
        return Cause(waiting, "They are carried out once it is well again.", place, "See the connection")
    return Cause("No worker has taken them up.", "See whether the workers run.")


def _stops(switch: KillSwitch, message: Message) -> bool:
    """As KillSwitchQuerySet.stopping: a message whose mailbox is not known is stopped with any of its connection."""
    if switch.mailbox is None:
        return switch.connection_id in (None, message.connection_id)
    return switch.mailbox.connection_id == message.connection_id and message.mailbox_id in (None, switch.mailbox_id)


def _waiting(connection: Connection, now: datetime) -> str:
    if connection.paused_at:
        return f"{connection} is paused: {connection.paused_because}"
    if connection.wait_until and connection.wait_until > now:
        return f"MultiMail asked {connection} to wait until {connection.wait_until:%H:%M:%S} UTC."
    return ""
