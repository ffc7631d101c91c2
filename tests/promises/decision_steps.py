"""The base class of the state machine in decision_machine.py: the invariants that must
hold after each step, small steps, and questions about the state.
"""

import contextlib
from typing import ClassVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from approvals.decisions import decide, withdraw
from approvals.decisions.status import status_of
from approvals.desk_messages import latest_decision
from approvals.models import Decision
from common.references import references_in
from mirror.errors import DeskError
from mirror.models import Connection, Message
from people.models import Person
from policy import kill_switch
from policy.models import KillSwitch
from tests.promises.upstream_world import World

ENDS = ("undone", "applied", "superseded", "refused")
OPEN = ("recorded", "calling", "unknown", "unattributed", "withdrawn")
# How the page names each state of doubt.
DOUBT = {
    "unknown": "Outcome unknown",
    "unattributed": "Outcome unknown",
    "withdrawn": "May still",
}
# The states of a message in the mirror after each action.
WORDS = {"approve": ("approved", "sent"), "reject": ("rejected",)}


class DecisionSteps(RuleBasedStateMachine):
    """Two messages of one connection, the people who decide, and the executors at work.

    `attempts` and `ended` have the last attempt and the final state by decision. `seen`
    is the number of effects that were checked. `states` are those of all decisions, and
    `free` the messages that can be decided.
    """

    world: ClassVar[World]
    people: ClassVar[list[Person]]
    admin: ClassVar[Person]
    connection: Connection

    def __init__(self):
        super().__init__()
        self.workers = []
        self.attempts = {}
        self.ended = {}
        self.seen = 0
        self.states = set()
        self.free = []

    # Invariants, checked after each step

    @invariant()
    def nothing_leaves_twice(self):
        for upstream_id in self.world.rows:
            approved = [
                effect
                for effect in self.world.effects
                if effect.email_id == upstream_id and effect.action == "approve"
            ]
            assert len(approved) <= 1, f"{upstream_id} left {len(approved)} times"

    @invariant()
    def effects_rest_on_decisions(self):
        for effect in self.world.effects[self.seen :]:
            if references := references_in(effect.reason):
                decision = Decision.objects.select_related("revision").get(
                    reference=references[-1]
                )
                assert decision.state not in ("undone", "refused"), (
                    f"it took effect and is {decision.state}"
                )
                assert effect.action == (
                    "approve" if decision.outcome == "approve" else "reject"
                )
                if effect.action == "approve":
                    assert decision.given_by_id is not None
                    assert decision.revision.fingerprint == effect.fingerprint
        self.seen = len(self.world.effects)

    @invariant()
    def decisions_only_go_forward(self):
        live = {}
        self.states = set()
        for decision in self.decisions():
            assert decision.attempt >= self.attempts.get(decision.pk, 0)
            assert self.ended.get(decision.pk, decision.state) == decision.state, (
                "an end was left again"
            )
            self.attempts[decision.pk] = decision.attempt
            self.states.add(decision.state)
            if decision.state in ENDS:
                self.ended[decision.pk] = decision.state
            if decision.state in ("recorded", "calling", "unknown", "unattributed"):
                live[decision.message_id] = live.get(decision.message_id, 0) + 1
            if decision.state == "applied":
                assert self.took_effect(decision), "shown as applied, and it was not"
            if decision.state == "superseded":
                assert decision.message.upstream_id in self.world.decided
                assert not self.took_effect(decision), (
                    "shown as somebody else's, and it was ours"
                )
        assert all(count == 1 for count in live.values())
        self.free = [
            message
            for message in self.messages()
            if message.state == "held" and message.pk not in live
        ]

    @invariant()
    def doubt_is_shown(self):
        for message in self.messages().prefetch_related("decisions__given_by"):
            decision = latest_decision(message)
            if (
                decision
                and decision.state in DOUBT
                and message.state in ("held", "gone")
            ):
                assert status_of(message, decision).word.startswith(
                    DOUBT[decision.state]
                )

    def is_settled(self):
        if self.decisions().filter(state__in=OPEN).exists():
            return False
        for message in self.messages():
            effect = self.world.decided.get(message.upstream_id)
            if message.state not in (WORDS[effect.action] if effect else ("held",)):
                return False
        return True

    # Small steps and questions

    def try_to(self, act, message):
        with contextlib.suppress(DeskError):
            act(message=message.public_id, actor=self.actor(True))

    def decide(self, message, who, outcome):
        seen_fingerprint = message.revision.fingerprint if message.revision else ""
        with contextlib.suppress(DeskError):
            decide.give_verdict(
                message=message.public_id, actor=self.actor(who), outcome=outcome, fingerprint=seen_fingerprint,
                reason="Please shorten it.",
            )  # fmt: skip

    def settle_by_hand(self, message):
        for decision in message.decisions.filter(
            state__in=("unattributed", "withdrawn")
        ).order_by("-pk")[:1]:
            with contextlib.suppress(DeskError):
                withdraw.settle_by_hand(
                    message=message.public_id, actor=self.actor(True), took_effect=self.took_effect(decision),
                )  # fmt: skip

    def pull_kill_switch(self):
        kill_switch.pull(
            actor=self.actor(True), reason="Stop.", connection=self.connection
        )

    def release_kill_switch(self):
        for switch in KillSwitch.objects.pulled().filter(connection=self.connection):
            kill_switch.release(
                switch_id=switch.pk, actor=self.admin.actor(surface="web")
            )

    def actor(self, who):
        return self.people[who].actor(surface="web")

    def messages(self):
        return (
            Message.objects.filter(connection=self.connection)
            .select_related("revision")
            .order_by("pk")
        )

    def message(self, which):
        messages = list(self.messages())
        return messages[which % len(messages)]

    def decisions(self):
        return Decision.objects.filter(
            message__connection=self.connection
        ).select_related("message")

    def took_effect(self, decision):
        effect = self.world.decided.get(decision.message.upstream_id)
        return effect is not None and decision.reference in effect.reason

    def is_stopped(self):
        return KillSwitch.objects.pulled().filter(connection=self.connection).exists()

    def carry_out(self, body):
        before = len(self.world.effects)
        message = (
            self.messages()
            .prefetch_related("decisions__given_by")
            .get(upstream_id=body["email_id"])
        )
        shown = status_of(message, latest_decision(message)).word
        answer = self.world.carry_out(body)
        assert len(self.world.effects) == before or shown != "Held", (
            "it took effect while it was shown as held"
        )
        return answer

    def reading(self):
        return [
            worker for worker in self.workers if worker.at and not worker.at.is_call
        ]

    def calling(self):
        return [worker for worker in self.workers if worker.at and worker.at.is_call]

    def keep(self, worker):
        self.workers = [one for one in self.workers if one is not worker] + (
            [worker] if worker.at else []
        )
