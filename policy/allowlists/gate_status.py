"""How the lists stand at the gates, in words, and what an admin can do there: have one tried now, give it its code."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from mirror.errors import ActNotAllowed
from people.actors import Actor
from policy.allowlists import pushing
from policy.allowlists.changes import may_change
from policy.allowlists.judgement import Place
from policy.models import Allowlist, GateList


@dataclass(frozen=True)
class AtGate:
    """One list of one mailbox at its gate. `can_try` says that trying now may help."""

    gate: GateList
    tone: str
    word: str
    sentence: str
    since: datetime | None = None
    next_try: datetime | None = None
    can_try: bool = False
    wants_code: bool = False

    @property
    def is_recent(self) -> bool:
        """Whether it came there so lately that the time of day says when."""
        return self.since is not None and timezone.now() - self.since < timedelta(hours=12)


def at_gate(gate: GateList) -> AtGate:
    """Return in words how a list stands at its gate; its mailbox and connection are at hand."""
    connection = gate.mailbox.connection
    if gate.pushed >= gate.wanted:
        return AtGate(gate, "green", "At the gate", f"version {gate.gate_version}", since=gate.pushed_at)
    has = f" The gate still has version {gate.gate_version}." if gate.pushed else ""
    here = _without_gate(gate)
    if not connection.admin_key:
        return AtGate(gate, "plain", "Only here", f"This connection has no admin key. {here}{has}")
    if gate.last_error == pushing.NO_LISTS:
        return AtGate(gate, "plain", "Only here", f"{gate.last_error} {here}", next_try=gate.next_attempt_at)
    if connection.paused_at:
        return AtGate(gate, "amber", "Not yet", f"The connection is paused.{has}")
    if gate.last_error.startswith(pushing.WAITS_FOR_CODE):
        said = f"{pushing.WAITS_FOR_CODE}{has}"
        return AtGate(gate, "amber", "Waits for a code", said, can_try=True, wants_code=True)
    if gate.last_error:
        said = f"{gate.last_error}{has}"
        return AtGate(gate, "amber", "Not yet", said, next_try=gate.next_attempt_at, can_try=True)
    return AtGate(gate, "blue", "On its way", f"It is being brought there.{has}")


def _without_gate(gate: GateList) -> str:
    if gate.kind == Allowlist.Kind.BYPASS:
        return "A bypass has no effect without the gate: everything waits for a decision."
    return "The list is enforced here when somebody decides, and again when it goes out."


def try_now(*, gate_id: int, code: str, actor: Actor) -> str:
    """Have a list that its gate lacks brought there now, with an operator's code where one is given.

    Returns the word of the try. Raises ActNotAllowed for whoever is no admin of the mailbox.
    """
    gate = GateList.objects.visible_to(actor).get(pk=gate_id)
    if not may_change(actor, Place(mailbox=gate.mailbox_id)):
        raise ActNotAllowed("Only an admin of this mailbox can have its list brought to the gate.")
    pushing.push_soon(gate.pk)
    return pushing.push_list(gate_list_id=gate.pk, approval_code=code, actor=actor, within=10.0)
