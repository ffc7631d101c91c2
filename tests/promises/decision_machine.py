"""A Hypothesis state machine that tests decisions: it makes the moves of docs/model in
random order, with the real commands, PostgreSQL and HTTP.

Its rules are what people, executors, MultiMail and time do. The invariants that must
hold after each are in decision_steps.py.
"""

from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from approvals.decisions import by_rule, execute, withdraw
from approvals.intake import ingest
from approvals.models import Decision
from approvals.reconcile import closing, reads
from common.identifiers import crockford, uuid7
from tests.factories import change_row, make_connection
from tests.promises.decision_steps import DOUBT, OPEN, DecisionSteps
from tests.promises.decision_worker import Worker

# What a rule chooses from; a repeated choice is more likely.
SWITCH = ("pull", "release", "release")
ELSEWHERE = ("approve", "approve silently", "reject")
# Rounds of work after which everything must be settled.
ROUNDS = 12
pick = st.integers(0, 7)
outcome = st.sampled_from(["approve", "approve", "reject", "send_back"])


class DecisionMachine(DecisionSteps):
    """Two messages, two reviewers, up to four executors, and a MultiMail that may fail
    in any way.
    """

    @initialize(
        repeats=st.booleans(), outcomes=st.tuples(outcome, outcome), calls=st.booleans()
    )
    def begin(self, repeats, outcomes, calls):
        self.world.begin(repeats=repeats)
        self.connection = make_connection(
            slug=f"c{uuid7().hex}", api_url=self.world.url
        )
        for number in range(2):
            self.world.hold(crockford(uuid7().int, 26), f"Letter {number}")
        self.read()
        # Each run begins with a decision on each message, so that short runs test more.
        for which, outcome in enumerate(outcomes):
            self.decide(self.message(which), bool(which), outcome)
        self.start_executor(0, calls)

    # People

    @precondition(lambda self: self.free)
    @rule(which=pick, who=st.booleans(), outcome=outcome)
    def give_verdict(self, which, who, outcome):
        self.decide(self.free[which % len(self.free)], who, outcome)

    @precondition(lambda self: self.states & set(OPEN))
    @rule(
        which=pick,
        what=st.sampled_from(
            ["nothing", "undo", "withdraw", "withdraw", "confirm", "confirm", "tell"]
        ),
    )
    def person_acts(self, which, what):
        message = self.message(which)
        acts = {
            "undo": withdraw.undo_decision,
            "withdraw": withdraw.withdraw_decision,
            "confirm": withdraw.confirm_approval,
        }
        if what in acts:
            self.try_to(acts[what], message)
        elif what == "tell":
            self.settle_by_hand(message)

    @rule(
        which=pick,
        what=st.sampled_from(
            [*["nothing"] * 3, "change", *ELSEWHERE, "expire", *SWITCH]
        ),
    )
    def something_else_happens(self, which, what):
        message = self.message(which)
        if what in ELSEWHERE:
            action, _, is_silent = what.partition(" ")
            reason = "" if is_silent else "elsewhere"
            self.world.carry_out(
                {"email_id": message.upstream_id, "action": action, "reason": reason}
            )
        elif what == "change" and message.upstream_id not in self.world.decided:
            self.world.rows[message.upstream_id]["subject"] = f"Changed {which % 2}"
        elif what == "expire":
            change_row(message, expires_at=Now() - timedelta(seconds=1))
            by_rule.expire_due()
        elif what == "pull":
            self.pull_kill_switch()
        elif what == "release":
            self.release_kill_switch()

    # Executors

    @precondition(lambda self: "recorded" in self.states and len(self.workers) < 4)
    @rule(which=pick, calls=st.sampled_from([True, True, False]))
    def start_executor(self, which, calls):
        recorded = list(self.decisions().filter(state="recorded").order_by("pk"))
        chosen = recorded[which % len(recorded)]
        was_held = chosen.message.state == "held"
        change_row(chosen, due_at=Now())
        change_row(self.connection, wait_until=None, paused_at=None)
        worker = Worker(self.world, chosen.pk)
        if calls and worker.at:
            worker.go_on(worker.at.answer)
        assert not (worker.at and self.is_stopped()), (
            "a call began under the kill switch"
        )
        is_withdrawn = self.decisions().filter(pk=chosen.pk, state="withdrawn").exists()
        assert was_held or not is_withdrawn, (
            "it is past the desk, and nobody withdrew it"
        )
        self.keep(worker)

    @precondition(lambda self: self.reading())
    @rule(
        which=pick,
        how=st.sampled_from(
            ["told", "told", "told", "told, and stopped", "429", "cut"]
        ),
    )
    def answer_read(self, which, how):
        worker = self.reading()[which % len(self.reading())]
        assert worker.at is not None
        answer = (
            worker.at.answer
            if how.startswith("told")
            else (429, {"error": "slow down"})
        )
        if how == "told, and stopped":
            self.pull_kill_switch()
        stopped = self.is_stopped()
        worker.go_on(None if how == "cut" else answer)
        if worker.at:
            assert not stopped, "a call began after the kill switch was pulled"
            attempt = Decision.objects.get(pk=worker.decision_id).attempt
            assert attempt == worker.attempt, "a worker that woke up late called"
        self.keep(worker)

    @precondition(lambda self: self.calling())
    @rule(which=pick, how=st.sampled_from(
        ["done", "done, and lost", "under way", "under way", "lost", "500", "done, and 500", "429", "403", "pending",
         "done, and garbage"]))  # fmt: skip
    def answer_call(self, which, how):
        worker = self.calling()[which % len(self.calling())]
        assert worker.at is not None
        body = worker.at.body
        done = self.carry_out(body) if how.startswith("done") else None
        if how == "under way":
            self.world.late.append(body)
        answers = {
            "done": done, "500": (500, {}), "429": (429, {"error": "slow down"}), "403": (403, {"error": "no"}),
            "pending": (409, {"error": "no", "code": "read_only", "status": "pending_send_approval"}),
            "done, and 500": (500, {}), "done, and garbage": (200, b"<html>"),
        }  # fmt: skip
        worker.go_on(answers.get(how))
        self.keep(worker)

    @precondition(lambda self: self.world.late)
    @rule(which=pick, arrives=st.booleans())
    def late_call(self, which, arrives):
        body = self.world.late.pop(which % len(self.world.late))
        if arrives:
            self.carry_out(body)

    @precondition(lambda self: self.workers)
    @rule(which=pick)
    def worker_dies(self, which):
        worker = self.workers[which % len(self.workers)]
        assert worker.at is not None
        if worker.at.is_call:
            self.world.late.append(worker.at.body)
        worker.crash()
        self.keep(worker)

    # Time, and what the desk does by itself

    @precondition(lambda self: "calling" in self.states)
    @rule(is_claimed_again=st.booleans())
    def let_leases_end(self, is_claimed_again):
        self.decisions().filter(state="calling").update(
            lease_until=Now() - timedelta(seconds=1)
        )
        for key in self.decisions().abandoned().values_list("pk", flat=True):
            execute.abandon(decision_id=key)
        if (
            is_claimed_again
            and self.decisions().filter(state="recorded").exists()
            and len(self.workers) < 4
        ):
            self.start_executor(0, False)

    @precondition(lambda self: self.states & set(DOUBT))
    @rule(silent=st.booleans(), forgets=st.booleans(), settles=st.booleans())
    def resolve_doubt(self, silent, forgets, settles):
        doubtful = self.decisions().filter(state__in=DOUBT)
        # If MultiMail repeats approvals, the desk relies on it that no call arrives
        # after the settle time: so none may be under way then.
        if settles and not (self.world.repeats and (self.world.late or self.calling())):
            doubtful.update(due_at=Now())
        doubtful.update(changed_at=F("changed_at") - timedelta(seconds=3))
        self.world.is_silent = silent and not settles
        self.world.forgets = forgets
        for key in self.decisions().to_resolve().values_list("pk", flat=True):
            closing.resolve(decision_id=key)
        self.world.is_silent = self.world.forgets = False

    @rule()
    def read(self):
        change_row(self.connection, read_at=None, reading_until=None)
        reads.read_everything(connection_id=self.connection.pk, now=timezone.now())

    @rule(which=st.integers(0, 30))
    def webhook_arrives(self, which):
        body = self.world.webhooks[which % len(self.world.webhooks)]
        stored = ingest.receive_webhook(
            connection=self.connection, body=body, secret_used="current"
        )
        assert stored.result != "poison"

    def teardown(self):
        if not hasattr(self, "connection"):
            return
        try:
            self.recover()
        finally:
            for worker in self.workers:
                if worker.at:
                    worker.at.let_go(None)

    def recover(self):
        """Let everything work again and people do what the desk asks of them. Then all
        decisions must be settled, as they really ended.
        """
        self.release_kill_switch()
        for worker in [*self.workers]:
            self.finish(worker)
        while self.world.late:
            self.late_call(0, len(self.world.late) % 2 == 0)
        for _ in range(ROUNDS):
            if self.is_settled():
                break
            self.let_leases_end(False)
            # What a 429 asked to wait is over.
            change_row(self.connection, wait_until=None)
            self.resolve_doubt(False, False, True)
            self.read()
            for message in self.messages().filter(state="gone"):
                reads.ask_about(message_id=message.pk, now=timezone.now())
            self.do_what_is_asked()
            by_rule.expire_due()
            self.carry_all_out()
        self.nothing_leaves_twice()
        self.effects_rest_on_decisions()
        self.decisions_only_go_forward()
        assert self.is_settled(), [
            (m.state, [str(d) for d in m.decisions.all()]) for m in self.messages()
        ]

    def carry_all_out(self):
        while self.decisions().filter(state="recorded").exists():
            self.start_executor(0, True)
            for worker in [*self.workers]:
                self.finish(worker)

    def finish(self, worker):
        while worker.at:
            worker.go_on(
                self.carry_out(worker.at.body)
                if worker.at.is_call
                else worker.at.answer
            )
        self.keep(worker)

    def do_what_is_asked(self):
        for message in self.messages():
            states = set(message.decisions.values_list("state", flat=True))
            if message.decisions.filter(state="unknown", seen_held=2).exists():
                # It is withdrawn if it cannot be sent again because its content changed
                # or its time is over.
                self.try_to(withdraw.confirm_approval, message)
                if message.decisions.filter(state="unknown").exists():
                    self.try_to(withdraw.withdraw_decision, message)
            if states & {"unattributed", "withdrawn"}:
                self.settle_by_hand(message)
            if "withdrawn" in states:
                self.decide(message, True, "reject")
