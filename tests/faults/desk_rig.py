"""One running product with a proxy between desk and gateway and one between gateway and
desk, for faults of decisions.

Everything is done and seen from outside: people by HTTP, the agent by the gateway's
API, what left by the Maildir. The database is touched for three things only: to let
time pass, to read the two products' records, and to hold locks.
"""

import contextlib
import json
import os
import time
from typing import TypeVar

import psycopg
from celery import Celery
from redis import Redis

from tests.faults.proxy import DECIDE, WEBHOOK, Proxy
from tests.faults.records import Held, Records
from tests.faults.shell import Shell
from tests.faults.wire import answering
from tests.stack import running_stack, wait_for

T = TypeVar("T")
# An upper bound: a busy machine is slow.
SOON = 90
SWEEP_PAUSE = 1.5


class DeskRig(Records):
    """The product, its proxies, and a history of actions and answers."""

    def __init__(self, stack, upstream, hooks):
        super().__init__(stack)
        self.upstream = upstream
        self.hooks = hooks
        self.mine = []
        self.decided_elsewhere = set()
        # The last checked entry of the ledger.
        self.verified = 0
        self.history = None
        broker = (
            stack.env["REDIS_URL"]
            .replace("unix://", "redis+socket://", 1)
            .replace("?db=", "?virtual_host=")
        )
        self.celery = Celery(broker=broker, set_as_current=False)
        self.redis = Redis.from_url(stack.env["REDIS_URL"])
        # Tasks of workers that were killed.
        self._lost = set()
        self.shell = Shell(stack)
        self._people = {}

    def stand_between(self):
        """Lead both ways through the proxies."""
        self.sql(
            "UPDATE mirror_connection SET api_url = %s WHERE slug = 'demo'",
            self.upstream.url,
        )
        webhook = self.known["WEBHOOK_URL"].replace(
            self.known["DASHBOARD_URL"], self.hooks.url
        )
        self.sql(
            "UPDATE gateway_webhook SET url = %s WHERE url = %s",
            webhook,
            self.known["WEBHOOK_URL"],
        )
        self.product.set_undo_window("0")
        # Cards are planned but not posted: the alerts have their own fault tests.
        self.product.hold_alerts()
        # A whole read each half minute could settle a doubt too early: `reconcile` runs
        # one on request.
        self.sql(
            "INSERT INTO dashboard_tick (job, period) SELECT 'approvals.tasks.reconcile_all', "
            "floor(extract(epoch FROM now()) / 30) + ahead FROM generate_series(0, 240) AS ahead ON CONFLICT DO NOTHING"
        )

    # People and programs

    def forget_sessions(self):
        """Let everybody sign in anew when next needed."""
        self._people.clear()

    def person(self, prefix):
        """REVIEWER, REVIEWER2, ADMIN or AUDITOR, signed in once."""
        if prefix not in self._people:
            self._people[prefix] = self.product.reviewer(prefix)
        return self._people[prefix]

    @property
    def ana(self):
        return self.person("REVIEWER")

    @property
    def ben(self):
        return self.person("REVIEWER2")

    def hold(self, **fields):
        """Send a message that waits for a decision, and return it once the desk shows
        its content.
        """
        upstream_id, subject = self.send(**fields)
        return self.shown(upstream_id, subject)

    def send(self, **fields):
        """Send a message by the flat call; return its id at the gateway and its
        subject.
        """
        upstream_id, subject = self.product.send(**fields)
        self.note("agent", "send", upstream_id=upstream_id, subject=subject)
        return upstream_id, subject

    def shown(self, upstream_id, subject):
        """Wait until the desk shows the content of a message, and count it as the
        test's own.
        """
        row = self.wait(
            lambda: self.fetched(upstream_id),
            f"{upstream_id} in the queue with its content",
        )
        held = Held(upstream_id, subject, str(row["public_id"]), row["fingerprint"])
        self.mine.append(held)
        return held

    def decide(self, held, outcome="approve", who="REVIEWER", reason=""):
        """Give a verdict as a person does, on what was shown; return the status of the
        answer.
        """
        reason = reason or ("" if outcome == "approve" else "Not like this.")
        answer = self.person(who).decide(held.id, outcome, held.fingerprint, reason)
        self.note(who, outcome, upstream_id=held.upstream_id, status=answer.status_code)
        return answer.status_code

    def confirm(self, held):
        """Confirm as the reviewer that an approval in doubt goes out again; False where
        the desk does not offer it.
        """
        page = self.ana.get(f"/queue/{held.id}/")
        if f"/queue/{held.id}/send-again/" not in page.text:
            return False
        answer = self.ana.post(f"/queue/{held.id}/send-again/", page)
        self.note(
            "REVIEWER",
            "send again",
            upstream_id=held.upstream_id,
            status=answer.status_code,
        )
        return answer.status_code == 302

    def decide_elsewhere(self, held, action, reason="decided elsewhere"):
        """Decide at the gateway itself, as MultiMail's own page would."""
        self.decided_elsewhere.add(held.upstream_id)
        body = {"email_id": held.upstream_id, "action": action, "reason": reason}
        answer = self.product.call(
            "POST", "/v1/oversight/decide", key="OVERSIGHT_KEY", json=body
        )
        self.note(
            "elsewhere", action, upstream_id=held.upstream_id, status=answer.status_code
        )
        return answer

    def python(self, code):
        """Run code in one `./run manage shell`, as an operator would, and return what
        it left in `result`.
        """
        return self.shell.run(code)

    def other_worker(self, task, *arguments):
        """Run a task, and what it wakes, in a process of its own, as another worker
        would.
        """
        return self.shell.work(task, *arguments)

    def calls(self, held):
        """How often the desk called to have a message decided."""
        return len(self.upstream.requests(DECIDE, held.upstream_id))

    def without_webhooks(self, held):
        """MultiMail tells nothing of this message any more: what becomes known was
        read.
        """
        return self.hooks.fault(answering(200), WEBHOOK, held.upstream_id)

    # Waiting, and letting time pass

    def wait(self, function, what, timeout=SOON):
        return wait_for(function, timeout, what, report=self.stack.report)

    def wait_for_decision(self, held, *states, timeout=SOON):
        """Wait until the newest decision is in one of these states, and return it."""

        def reached():
            decision = self.decision(held)
            assert decision.get("state") in states, (
                f"it is {decision.get('state')}: {decision.get('explanation')}"
            )
            return decision

        return self.wait(
            reached,
            f"the decision on {held.subject} to be {' or '.join(states)}",
            timeout,
        )

    def wait_for_message(self, held, *states, timeout=SOON):
        """Wait until the mirror shows the message in one of these states, and return
        its row.
        """

        def reached():
            message = self.message(held)
            assert message["state"] in states, f"it is {message['state']}"
            return message

        return self.wait(
            reached, f"{held.subject} to be {' or '.join(states)}", timeout
        )

    def let_lease_end(self, held):
        """The lease of the call that is under way is over; nobody has noticed yet."""
        self._set(
            held, "lease_until = now() - interval '1 second'", "state = 'calling'"
        )

    def let_settle(self, held):
        """Everything about the decision happened long enough ago for a read to prove
        something.
        """
        self._set(held, "changed_at = changed_at - interval '5 minutes'")
        # For a decision in doubt this is when another read counts.
        self._set(
            held, "due_at = now()", "state IN ('unknown', 'withdrawn', 'unattributed')"
        )

    def let_its_event_be_late(self, held):
        """What MultiMail should have told of a message on its way is overdue."""
        late = "changed_at = changed_at - interval '1 hour', asked_at = NULL"
        self.sql(f"UPDATE mirror_message SET {late} WHERE public_id = %s", held.id)

    def let_outbox_lease_end(self, held):
        """An attempt to send keeps its lease for minutes if PostgreSQL was killed; a
        live one needs it for seconds.
        """
        overdue = "status = 'scheduled' AND lease_until < now() + interval '2 minutes'"
        self.sql(
            f"UPDATE gateway_email SET lease_until = now() WHERE id = %s AND {overdue}",
            held.upstream_id,
        )

    def let_fall_due(self, held):
        self._set(held, "due_at = now()", "state = 'recorded'")

    @contextlib.contextmanager
    def undo_window(self, window="1 hour"):
        """Leave time to undo what is decided in the block."""
        self.product.set_undo_window(window)
        try:
            yield
        finally:
            self.product.set_undo_window("0")

    def bring_to_end(self, *messages, states=("applied",)):
        """Let leases, settle times and back-off be over; sweeps do the rest, and the
        reviewer confirms.
        """

        def ended():
            for held in messages:
                self.let_lease_end(held)
                self.let_settle(held)
                self.let_fall_due(held)
                state = self.decision(held)["state"]
                if state == "unknown":
                    # An approval whose call never arrived is sent again only when a
                    # person says so.
                    self.confirm(held)
                assert state in states, f"{held.subject} is {state}"
            return True

        self.sweep_until(ended, "every decision to end")

    def sweep(self):
        """Do now what the worker does by itself every few seconds."""
        self.celery.send_task("approvals.tasks.sweep", queue="sync")

    def reconcile(self):
        """Begin now the whole read that the worker begins by itself every half minute."""
        ours = "slug IN ('demo', 'neighbour')"
        self.sql(
            f"UPDATE mirror_connection SET read_at = NULL, wait_until = NULL WHERE {ours}"
        )
        self.celery.send_task("approvals.tasks.reconcile_all", queue="sync")

    def sweep_until(self, function, what, timeout=SOON):
        """Wait for something that a sweep brings about, with a sweep at once, and
        others where one is not enough.
        """
        # The function advances time before the first sweep.
        with contextlib.suppress(AssertionError):
            if found := function():
                return found
        last = -SWEEP_PAUSE

        def asked():
            nonlocal last
            if time.monotonic() - last > SWEEP_PAUSE:
                last = time.monotonic()
                self.sweep()
            return function()

        return self.wait(asked, what, timeout)

    def sweep_through(self):
        """Sweep, and return when that and all that it began is over."""
        self.sweep()
        self.wait_for_idle()

    def wait_for_idle(self, but=0):
        """Wait until the desk's workers have nothing more to do, but for so many tasks
        that are kept from ending.
        """
        # Twice in a row: a task in transit to Redis or to a worker is in neither for a
        # moment.
        self.wait(
            lambda: self._is_idle(but) and (time.sleep(0.15) or self._is_idle(but)),
            "the workers to be idle",
        )

    def _is_idle(self, but):
        """Whether no message of the desk's queues waits or is in the hands of a worker,
        but for those of later.
        """
        waiting = self.redis.llen("decisions") + self.redis.llen("sync")
        unacked = self.redis.hgetall("unacked").items()
        unacknowledged = [
            json.loads(text) for tag, text in unacked if tag not in self._lost
        ]
        now = [
            one
            for one, _, queue in unacknowledged
            if queue in ("decisions", "sync") and not one["headers"].get("eta")
        ]
        return not waiting and len(now) == but

    def sweep_to(self, held, *states, timeout=SOON):
        """Sweep until the newest decision on a message is in one of these states, and
        return it.
        """

        def reached():
            decision = self.decision(held)
            assert decision.get("state") in states, (
                f"it is {decision.get('state')}: {decision.get('explanation')}"
            )
            return decision

        return self.sweep_until(
            reached,
            f"the decision on {held.subject} to be {' or '.join(states)}",
            timeout,
        )

    @contextlib.contextmanager
    def lock(self, held):
        """Hold the row lock of the newest decision on a message, as a slow transaction
        of somebody else would.
        """
        with psycopg.connect(self.stack.env["DATABASE_OWNER_URL"]) as database:
            database.execute(
                "SELECT 1 FROM approvals_decision WHERE id = %s FOR UPDATE",
                [self.decision(held)["id"]],
            )
            yield database
            database.rollback()

    def restart(self, name):
        """Kill a process with SIGKILL and wait until the launcher has started another."""
        killed = self.stack.kill(name)
        self.give_up_unacked()
        self.note("test", "SIGKILL", process=name)
        self.wait(
            lambda: self.stack.pids().get(name, killed) != killed, f"another {name}"
        )

    def give_up_unacked(self):
        """Wait no more for what dead workers had in hand: the broker gives it out again
        in some minutes only.
        """
        self._lost |= set(self.redis.hkeys("unacked"))

    def note(self, who, action, **facts):
        """Write one line of the history."""
        if self.history:
            line = json.dumps(
                {"at": time.time(), "who": who, "action": action, **facts}, default=str
            )
            with self.history.open("a") as history:
                history.write(line + os.linesep)

    def close(self):
        self.shell.close()

    def _set(self, held, change, condition="true"):
        query = "message_id = (SELECT id FROM mirror_message WHERE public_id = %s)"
        self.sql(
            f"UPDATE approvals_decision SET {change} WHERE {query} AND {condition}",
            held.id,
        )


@contextlib.contextmanager
def desk_rig(tmp_path_factory, *, running=running_stack, **variables):
    """Start a product whose two halves speak through proxies, and whose decisions leave
    at once.

    The second mailbox keeps its five seconds to undo. `running` starts it in another
    way than others are.
    """
    upstream = Proxy()
    hooks = Proxy()
    allow = f"{upstream.url},{hooks.url}"
    product = running(tmp_path_factory, **{"OUTGOING_ALLOW": allow, **variables})
    with product as stack, between_proxies(stack, upstream, hooks) as rig:
        yield rig


@contextlib.contextmanager
def between_proxies(stack, upstream, hooks):
    """Connect the two halves of a running product through these proxies, and close them
    at the end.
    """
    rig = DeskRig(stack, upstream, hooks)
    upstream.serve(rig.known["GATEWAY_URL"])
    hooks.serve(rig.known["DASHBOARD_URL"])
    rig.stand_between()
    try:
        yield rig
    finally:
        rig.close()
        upstream.close()
        hooks.close()
