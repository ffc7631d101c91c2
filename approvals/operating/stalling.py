"""Says why decisions are not carried out although their time has come, and gathers those with the same cause."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from approvals.models import Connection, Decision, Message
from people.actors import Actor
from policy.models import KillSwitch

GATHERED = 200


@dataclass(frozen=True)
class StalledGroup:
    """Decisions, oldest first, that one cause keeps. `place` is the page of that cause, empty where none is known."""

    why: str
    advice: str
    decisions: list[Decision]
    place: str = ""
    label: str = ""


def stalled_groups(actor: Actor, now: datetime) -> list[StalledGroup]:
    """Return what should have been carried out and was not, within the actor's reach, by its cause."""
    switches = list(KillSwitch.objects.pulled().select_related("pulled_by", "connection", "mailbox"))
    groups: dict[str, StalledGroup] = {}
    for decision in Decision.objects.visible_to(actor).stalled().with_message().order_by("due_at")[:GATHERED]:
        group = _cause(decision, switches, now)
        groups.setdefault(group.why, group).decisions.append(decision)
    return list(groups.values())


def _cause(decision: Decision, switches: list[KillSwitch], now: datetime) -> StalledGroup:
    message, connection = decision.message, decision.message.connection
    for switch in switches:
        if _stops(switch, message):
            why = f"{switch.pulled_by} pulled the {switch}: {switch.reason}"
            advice = "They leave once it is released; until then each can be undone on its page."
            return StalledGroup(why, advice, [], reverse("stop"), "See the kill switch")
    if waiting := _waiting(connection, now):
        place = f"{reverse('connections')}#connection-{connection.pk}"
        return StalledGroup(waiting, "They are carried out once it is well again.", [], place, "See the connection")
    return StalledGroup("No worker has taken them up.", "See whether the workers run.", [])


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
