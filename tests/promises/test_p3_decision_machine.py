"""P3: a Hypothesis state machine makes the moves of docs/model against the real commands, PostgreSQL and HTTP.

Executors are threads that stop wherever they speak to MultiMail. One that crashes loses its database connection; one
that sleeps is left parked while leases end and others go on.
"""

import contextlib
import ctypes
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import DatabaseError, InterfaceError, connections
from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from approvals import decide, execute, expire, ingest, reconcile, resolve, withdraw
from approvals.errors import ApprovalsError
from approvals.models import Connection, Decision, Message
from approvals.status import status_of
from common.identifiers import crockford, uuid7
from people.models import Person
from policy import kill_switch
from policy.models import KillSwitch
from tests.factories import make_connection, make_person
from tests.promises.upstream_world import PATIENCE, Parked, World, serving_world

ENDS = ("undone", "applied", "superseded", "refused")
OPEN = ("recorded", "calling", "unknown", "unattributed", "withdrawn")
DOUBT = {"unknown": "Outcome unknown", "unattributed": "Outcome unknown", "withdrawn": "May still"}
WORDS = {"approve": ("approved", "sent"), "reject": ("rejected",)}
SWITCH = ("pull", "release", "release")
OURS = "[countersign:"
FIRST_ROWS = 12


class Killed(BaseException):
    """SIGKILL, as far as a thread can have it."""


class Worker:
    """One executor at work on one decision, in a thread."""

    def __init__(self, world: World, decision_id: int) -> None:
        self.world, self.decision_id = world, decision_id
        self.at: Parked | None = None
        self.crashed = self.is_done = False
        self.error: BaseException | None = None
        self._backend = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        world.parks_reads, world.parked = True, None
        self._thread.start()
        self._wait()
        world.parks_reads = False

    def _run(self) -> None:
        try:
            database.ensure_connection()
            self._backend = database.connection.info.backend_pid
            execute.run_decision(decision_id=self.decision_id, now=timezone.now())
        except Killed:
            pass
        except (DatabaseError, InterfaceError) as error:
            self.error = None if self.crashed else error
        except BaseException as error:  # noqa: BLE001 - told to the machine, which fails by it
            self.error = error
        finally:
            with contextlib.suppress(DatabaseError, InterfaceError):
                connections.close_all()
            with self.world.changed:
                self.is_done = True
                self.world.changed.notify_all()

    def go_on(self, answer: tuple[int, Any] | None) -> None:
        """Let it have an answer, or none, and return when it stops again or has ended."""
        assert self.at is not None
        at, self.at, self.world.parked = self.at, None, None
        at.let_go(answer)
        self._wait()

    def crash(self) -> None:
        """It dies where it stands: its transaction and all it would have done are lost. A call that left stays out."""
        self.crashed = True
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [self._backend])
        # Raised in the thread at its next instruction; nothing of the product catches it.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(Killed))
        self.go_on(None)

    def lose_database(self) -> None:
        """Its connection is gone, it lives on."""
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [self._backend])

    def _wait(self) -> None:
        with self.world.changed:
            reached = self.world.changed.wait_for(lambda: self.is_done or self.world.parked, PATIENCE)
        assert reached, "the worker neither ended nor asked"
        if self.is_done:
            self._thread.join(PATIENCE)
            if self.error:
                raise self.error
        else:
            self.at, self.world.parked = self.world.parked, None


pick = st.integers(0, 7)
outcome = st.sampled_from(["approve", "approve", "reject", "send_back"])


class DecisionMachine(RuleBasedStateMachine):
    """Two messages, two reviewers, any number of executors, and a MultiMail that may do its worst."""

    world: ClassVar[World]
    people: ClassVar[list[Person]]
    admin: ClassVar[Person]
    connection: Connection

    @initialize(repeats=st.booleans(), outcomes=st.tuples(outcome, outcome), calls=st.booleans())
    def begin(self, repeats: bool, outcomes: tuple[str, str], calls: bool) -> None:
        self.world.begin(repeats=repeats)
        self.connection = make_connection(slug=f"c{uuid7().hex}", api_url=self.world.url)
        self.workers: list[Worker] = []
        self.attempts: dict[int, int] = {}
        self.ended: dict[int, str] = {}
        self.seen = 0
        self.states: set[str] = set()
        self.free: list[Message] = []
        for number in range(2):
            self.world.hold(crockford(uuid7().int, 26), f"Letter {number}")
        self.read()
        # Each history begins with two decisions under way: what matters comes after them.
        for which, outcome in enumerate(outcomes):
            self.decide(self.message(which), bool(which), outcome)
        self.start_executor(0, calls)

    # People

    @precondition(lambda self: self.free)
    @rule(which=pick, who=st.booleans(), outcome=outcome)
    def give_verdict(self, which: int, who: bool, outcome: str) -> None:
        self.decide(self.free[which % len(self.free)], who, outcome)

    @precondition(lambda self: self.states & set(OPEN))
    @rule(which=pick, what=st.sampled_from(["nothing", "undo", "withdraw", "withdraw", "confirm", "confirm", "tell"]))
    def person_acts(self, which: int, what: str) -> None:
        message = self.message(which)
        acts = {
            "undo": decide.undo_decision,
            "withdraw": withdraw.withdraw_decision,
            "confirm": withdraw.confirm_approval,
        }
        if what in acts:
            self.try_to(acts[what], message)
        elif what == "tell":
            self.settle_by_hand(message)

    @rule(which=pick, what=st.sampled_from([*["nothing"] * 3, "change", "approve", "reject", "expire", *SWITCH]))
    def something_else_happens(self, which: int, what: str) -> None:
        message = self.message(which)
        if what in ("approve", "reject"):
            self.world.carry_out({"email_id": message.upstream_id, "action": what, "reason": "elsewhere"})
        elif what == "change" and message.upstream_id not in self.world.decided:
            self.world.rows[message.upstream_id]["subject"] = f"Changed {which % 2}"
        elif what == "expire":
            Message.objects.filter(pk=message.pk).update(expires_at=Now() - timedelta(seconds=1))
            expire.expire_due()
        elif what == "pull":
            kill_switch.pull(actor=self.actor(True), reason="Stop.", connection=self.connection)
        elif what == "release":
            self.release_kill_switch()

    # Executors

    @precondition(lambda self: "recorded" in self.states and len(self.workers) < 4)
    @rule(which=pick, calls=st.sampled_from([True, True, False]))
    def start_executor(self, which: int, calls: bool) -> None:
        recorded = list(self.decisions().filter(state="recorded").order_by("pk"))
        chosen = recorded[which % len(recorded)]
        Decision.objects.filter(pk=chosen.pk).update(due_at=Now())
        Connection.objects.filter(pk=self.connection.pk).update(wait_until=None, paused_at=None)
        worker = Worker(self.world, chosen.pk)
        if calls and worker.at:
            worker.go_on(worker.at.answer)
        assert not (worker.at and self.is_stopped()), "a call began under the kill switch"
        self.keep(worker)

    @precondition(lambda self: self.reading())
    @rule(which=pick, how=st.sampled_from(["told", "told", "told", "told", "429", "cut"]))
    def answer_read(self, which: int, how: str) -> None:
        worker = self.reading()[which % len(self.reading())]
        assert worker.at is not None
        answers = {"told": worker.at.answer, "429": (429, {"error": "slow down"}), "cut": None}
        stopped = self.is_stopped()
        worker.go_on(answers[how])
        assert not (stopped and worker.at), "a call began after the kill switch was pulled"
        self.keep(worker)

    @precondition(lambda self: self.calling())
    @rule(which=pick, how=st.sampled_from(
        ["done", "done, and lost", "under way", "under way", "lost", "500", "done, and 500", "429", "403", "pending",
         "done, and garbage"]))  # fmt: skip
    def answer_call(self, which: int, how: str) -> None:
        worker = self.calling()[which % len(self.calling())]
        assert worker.at is not None
        body = worker.at.body
        done = self.carry_out(body) if how.startswith("done") else None
        if how == "under way":
            self.world.late.append(body)
        answers: dict[str, tuple[int, Any] | None] = {
            "done": done, "500": (500, {}), "429": (429, {"error": "slow down"}), "403": (403, {"error": "no"}),
            "pending": (409, {"error": "no", "code": "read_only", "status": "pending_send_approval"}),
            "done, and 500": (500, {}), "done, and garbage": (200, b"<html>"),
        }  # fmt: skip
        worker.go_on(answers.get(how))
        self.keep(worker)

    @precondition(lambda self: self.world.late)
    @rule(which=pick, arrives=st.booleans())
    def late_call(self, which: int, arrives: bool) -> None:
        body = self.world.late.pop(which % len(self.world.late))
        if arrives:
            self.carry_out(body)

    @precondition(lambda self: self.workers)
    @rule(which=pick, how=st.sampled_from(["dies", "loses its database"]))
    def worker_suffers(self, which: int, how: str) -> None:
        worker = self.workers[which % len(self.workers)]
        assert worker.at is not None
        if how == "loses its database":
            worker.lose_database()
            return
        if worker.at.is_call:
            self.world.late.append(worker.at.body)
        worker.crash()
        self.keep(worker)

    # Time, and what the desk does by itself

    @precondition(lambda self: "calling" in self.states)
    @rule()
    def let_leases_end(self) -> None:
        self.decisions().filter(state="calling").update(lease_until=Now() - timedelta(seconds=1))
        for key in self.decisions().abandoned().values_list("pk", flat=True):
            execute.abandon(decision_id=key)

    @precondition(lambda self: self.states & set(DOUBT))
    @rule(silent=st.booleans(), forgets=st.booleans(), settles=st.booleans())
    def resolve_doubt(self, silent: bool, forgets: bool, settles: bool) -> None:
        doubtful = self.decisions().filter(state__in=DOUBT)
        # A MultiMail that repeats is trusted with this: no call outlives the settle time.
        if settles and not (self.world.repeats and (self.world.late or self.calling())):
            doubtful.update(due_at=Now())
        doubtful.update(changed_at=F("changed_at") - timedelta(seconds=3))
        self.world.is_silent, self.world.forgets = silent and not settles, forgets
        for key in self.decisions().to_resolve().values_list("pk", flat=True):
            resolve.resolve(decision_id=key)
        self.world.is_silent = self.world.forgets = False

    @rule()
    def read(self) -> None:
        Connection.objects.filter(pk=self.connection.pk).update(read_at=None, reading_until=None)
        reconcile.read_everything(connection_id=self.connection.pk, now=timezone.now())

    @rule(which=st.integers(0, 30))
    def webhook_arrives(self, which: int) -> None:
        body = self.world.webhooks[which % len(self.world.webhooks)]
        stored = ingest.receive_webhook(
            connection=self.connection, body=body, secret_used="current", now=timezone.now()
        )
        assert stored.result != "poison"

    # What must hold after each step

    @invariant()
    def nothing_leaves_twice(self) -> None:
        for upstream_id in self.world.rows:
            approved = [e for e in self.world.effects if e.email_id == upstream_id and e.action == "approve"]
            assert len(approved) <= 1, f"{upstream_id} left {len(approved)} times"

    @invariant()
    def effects_rest_on_decisions(self) -> None:
        for effect in self.world.effects[self.seen :]:
            if OURS in effect.reason:
                reference = effect.reason.partition(OURS)[2].rstrip("]")
                decision = Decision.objects.select_related("revision").get(reference=reference)
                assert decision.state not in ("undone", "refused"), f"it took effect and is {decision.state}"
                assert effect.action == ("approve" if decision.outcome == "approve" else "reject")
                if effect.action == "approve":
                    assert decision.given_by_id is not None
                    assert decision.revision.fingerprint == effect.fingerprint
        self.seen = len(self.world.effects)

    @invariant()
    def decisions_only_go_forward(self) -> None:
        live: dict[int, int] = {}
        self.states = set()
        for decision in self.decisions():
            assert decision.attempt >= self.attempts.get(decision.pk, 0)
            assert self.ended.get(decision.pk, decision.state) == decision.state, "an end was left again"
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
        assert all(count == 1 for count in live.values())
        self.free = [message for message in self.messages() if message.state == "held" and message.pk not in live]

    @invariant()
    def doubt_is_shown(self) -> None:
        for message in self.messages().prefetch_related("decisions__given_by"):
            decision = message.latest_decision
            if decision and decision.state in DOUBT and message.state in ("held", "gone"):
                assert status_of(message, decision).word.startswith(DOUBT[decision.state])

    def teardown(self) -> None:
        if not hasattr(self, "connection"):
            return
        try:
            self.recover()
        finally:
            for worker in self.workers:
                if worker.at:
                    worker.at.let_go(None)

    def recover(self) -> None:
        """Everything works again, and people do what they are asked for: what happened must be known everywhere."""
        self.release_kill_switch()
        for worker in [*self.workers]:
            self.finish(worker)
        while self.world.late:
            self.late_call(0, len(self.world.late) % 2 == 0)
        for _ in range(FIRST_ROWS):
            if self.is_settled():
                break
            self.let_leases_end()
            self.resolve_doubt(False, False, True)
            self.read()
            for message in self.messages().filter(state="gone"):
                reconcile.ask_about(message_id=message.pk, now=timezone.now())
            self.do_what_is_asked()
            expire.expire_due()
            self.carry_all_out()
        self.nothing_leaves_twice()
        self.effects_rest_on_decisions()
        self.decisions_only_go_forward()
        assert self.is_settled(), [(m.state, [str(d) for d in m.decisions.all()]) for m in self.messages()]

    def carry_all_out(self) -> None:
        while self.decisions().filter(state="recorded").exists():
            self.start_executor(0, True)
            for worker in [*self.workers]:
                self.finish(worker)

    def finish(self, worker: Worker) -> None:
        while worker.at:
            worker.go_on(self.carry_out(worker.at.body) if worker.at.is_call else worker.at.answer)
        self.keep(worker)

    def do_what_is_asked(self) -> None:
        for message in self.messages():
            states = set(message.decisions.values_list("state", flat=True))
            if message.decisions.filter(state="unknown", seen_held=2).exists():
                # Withdrawn where it cannot go out again: its content changed, or its time is over.
                self.try_to(withdraw.confirm_approval, message)
                if message.decisions.filter(state="unknown").exists():
                    self.try_to(withdraw.withdraw_decision, message)
            if states & {"unattributed", "withdrawn"}:
                self.settle_by_hand(message)
            if "withdrawn" in states:
                self.decide(message, True, "reject")

    def is_settled(self) -> bool:
        if self.decisions().filter(state__in=OPEN).exists():
            return False
        for message in self.messages():
            effect = self.world.decided.get(message.upstream_id)
            if message.state not in (WORDS[effect.action] if effect else ("held",)):
                return False
        return True

    # Small steps and questions

    def try_to(self, act: Callable[..., Decision], message: Message) -> None:
        with contextlib.suppress(ApprovalsError):
            act(message=message.public_id, actor=self.actor(True), now=timezone.now())

    def decide(self, message: Message, who: bool, outcome: str) -> None:
        print_seen = message.revision.fingerprint if message.revision else ""
        with contextlib.suppress(ApprovalsError):
            decide.give_verdict(
                message=message.public_id, actor=self.actor(who), outcome=outcome, fingerprint=print_seen,
                reason="Please shorten it.", now=timezone.now(),
            )  # fmt: skip

    def settle_by_hand(self, message: Message) -> None:
        for decision in message.decisions.filter(state__in=("unattributed", "withdrawn")).order_by("-pk")[:1]:
            with contextlib.suppress(ApprovalsError):
                withdraw.settle_by_hand(
                    message=message.public_id, actor=self.actor(True), took_effect=self.took_effect(decision),
                    now=timezone.now(),
                )  # fmt: skip

    def release_kill_switch(self) -> None:
        for switch in KillSwitch.objects.pulled().filter(connection=self.connection):
            kill_switch.release(switch_id=switch.pk, actor=self.admin.actor(surface="web"))

    def actor(self, who: bool) -> Any:
        return self.people[who].actor(surface="web")

    def messages(self) -> Any:
        return Message.objects.filter(connection=self.connection).select_related("revision").order_by("pk")

    def message(self, which: int) -> Message:
        found = list(self.messages())
        chosen: Message = found[which % len(found)]
        return chosen

    def decisions(self) -> Any:
        return Decision.objects.filter(message__connection=self.connection).select_related("message")

    def took_effect(self, decision: Decision) -> bool:
        effect = self.world.decided.get(decision.message.upstream_id)
        return effect is not None and decision.reference in effect.reason

    def is_stopped(self) -> bool:
        return KillSwitch.objects.pulled().filter(connection=self.connection).exists()

    def carry_out(self, body: dict[str, Any]) -> tuple[int, Any]:
        before = len(self.world.effects)
        message = self.messages().prefetch_related("decisions__given_by").get(upstream_id=body["email_id"])
        shown = status_of(message, message.latest_decision).word
        answer = self.world.carry_out(body)
        assert len(self.world.effects) == before or shown != "Held", "it took effect while it was shown as held"
        return answer

    def reading(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.at and not worker.at.is_call]

    def calling(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.at and worker.at.is_call]

    def keep(self, worker: Worker) -> None:
        self.workers = [one for one in self.workers if one is not worker] + ([worker] if worker.at else [])


@pytest.fixture
def machine(transactional_db):
    with serving_world() as world:
        DecisionMachine.world = world
        DecisionMachine.people = [
            make_person("ana@yourteam.example", "Ana Ferreira", "reviewer"),
            make_person("ben@yourteam.example", "Ben Okafor", "reviewer"),
        ]
        DecisionMachine.admin = make_person("ida@yourteam.example", "Ida Lindqvist", "admin")
        yield DecisionMachine


def run(machine: type[DecisionMachine], **options: Any) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(deadline=None, database=None, suppress_health_check=quiet, **options)
    )


def test_decisions_hold_whatever_happens_between_the_steps(machine):
    run(machine, max_examples=15, stateful_step_count=30, derandomize=True)


@pytest.mark.slow
def test_decisions_hold_in_many_more_histories(machine):
    run(machine, max_examples=400, stateful_step_count=60, print_blob=True)
