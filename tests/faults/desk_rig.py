"""A running product for fault tests, with one proxy before the gateway (for the desk's
calls) and one before the desk (for webhooks).

Tests use it from outside: people by HTTP, the agent by the gateway's API, sent mail in
the Maildir. They use the database only to let time pass, to read the records of desk
and gateway, and to hold locks.
"""

import contextlib
import json
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
# Seconds to wait at most, because a busy machine is slow, and between two sweeps.
SOON = 90
SWEEP_PAUSE = 1.5


class DeskRig(Records):
    """The product, and its proxies `upstream` and `hooks`. `mine` are the messages of
    the present test.
    """

    def __init__(self, stack, upstream, hooks):
        super().__init__(stack)
        self.upstream = upstream
        self.hooks = hooks
        self.mine = []
        self.decided_elsewhere = set()
        # The id of the last checked entry of the ledger.
        self.verified = 0
        broker = (
            stack.env["REDIS_URL"]
            .replace("unix://", "redis+socket://", 1)
            .replace("?db=", "?virtual_host=")
        )
        self.celery = Celery(broker=broker, set_as_current=False)
        self.redis = Redis.from_url(stack.env["REDIS_URL"])
        # Delivery tags of tasks that killed workers had.
        self._lost = set()
        self.shell = Shell(stack)
        self._people = {}

    def stand_between(self):
        """Send the calls in both directions through the proxies."""
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
        # Mark the periodic reads of the next two hours as done: they could settle a
        # doubt too early. `reconcile` runs one on request.
        self.sql(
            "INSERT INTO dashboard_tick (job, period) SELECT 'approvals.tasks.reconcile_all', "
            "floor(extract(epoch FROM now()) / 30) + ahead FROM generate_series(0, 240) AS ahead ON CONFLICT DO NOTHING"
        )

    # People and programs

    def forget_sessions(self):
        """Let each person sign in again when next needed."""
        self._people.clear()

    def person(self, prefix):
        """Return REVIEWER, ADMIN or AUDITOR, signed in once."""
        if prefix not in self._people:
            self._people[prefix] = self.product.reviewer(prefix)
        return self._people[prefix]

    @property
    def ana(self):
        return self.person("REVIEWER")

    def hold(self):
        """Send a message that waits for a decision, and return it once the desk shows
        its content.
        """
        return self.shown(*self.product.send())

    def shown(self, upstream_id, subject):
        """Wait for a message's content, add it to `mine`, and return it."""
        row = self.wait(
            lambda: self.fetched(upstream_id),
            f"{upstream_id} in the queue with its content",
        )
        held = Held(upstream_id, subject, str(row["public_id"]), row["fingerprint"])
        self.mine.append(held)
        return held

    def decide(self, held, outcome="approve", reason=""):
        """Give a verdict on a message as a person does. Return the HTTP status."""
        reason = reason or ("" if outcome == "approve" else "Not like this.")
        answer = self.ana.decide(held.id, outcome, held.fingerprint, reason)
        return answer.status_code

    def approve_from(self, page, held):
        """Approve a message on its page, which was opened before. Return the answer."""
        fields = {"outcome": "approve", "fingerprint": held.fingerprint, "reason": ""}
        return self.ana.post(f"/queue/{held.id}/verdict/", page, **fields)

    def confirm(self, held):
        """Send an approval in doubt again, as the reviewer. Return whether the desk
        offered and accepted that.
        """
        page = self.ana.get(f"/queue/{held.id}/")
        if f"/queue/{held.id}/send-again/" not in page.text:
            return False
        answer = self.ana.post(f"/queue/{held.id}/send-again/", page)
        return answer.status_code == 302

    def decide_elsewhere(self, held, action):
        """Decide directly at the gateway, as MultiMail's own page would."""
        self.decided_elsewhere.add(held.upstream_id)
        body = {"email_id": held.upstream_id, "action": action}
        body["reason"] = "decided elsewhere"
        return self.product.call(
            "POST", "/v1/oversight/decide", key="OVERSIGHT_KEY", json=body
        )

    def python(self, code):
        """Run code in `./run manage shell`, as an operator would, and return the value
        of its variable `result`.
        """
        return self.shell.run(code)

    def calls(self, held):
        """How many calls of `decide_email` for a message reached the proxy."""
        return len(self.upstream.requests(DECIDE, held.upstream_id))

    def without_webhooks(self, held):
        """Lose all webhooks about a message: the desk learns of it by reading."""
        return self.hooks.fault(answering(200), WEBHOOK, held.upstream_id)

    # Waiting, and letting time pass

    def wait(self, function, what, timeout=SOON):
        return wait_for(function, timeout, what, report=self.stack.report)

    def wait_for_decision(self, held, *states):
        """Wait until the newest decision is in one of these states, and return it."""
        return self.wait(*self._decision_in(held, states))

    def _decision_in(self, held, states):
        """What to wait for until the newest decision is in one of these states, and
        its name.
        """

        def reached():
            decision = self.decision(held)
            assert decision.get("state") in states, (
                f"it is {decision.get('state')}: {decision.get('explanation')}"
            )
            return decision

        return reached, f"the decision on {held.subject} to be {' or '.join(states)}"

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
        """Let the lease of the present call expire, without any worker noticing."""
        self._set(
            held, "lease_until = now() - interval '1 second'", "state = 'calling'"
        )

    def let_stuck_lease_end(self, held):
        """Let the lease of an attempt expire that began ten seconds ago or more; a live
        attempt, which would then make no call, needs less.
        """
        is_stuck = "state = 'calling' AND lease_until < now() + interval '50 seconds'"
        self._set(held, "lease_until = now() - interval '1 second'", is_stuck)

    def let_settle(self, held):
        """Make the decision so old that a read of MultiMail can settle it."""
        self._set(held, "changed_at = changed_at - interval '5 minutes'")
        # A decision in doubt is read again when it is due.
        self._set(
            held, "due_at = now()", "state IN ('unknown', 'withdrawn', 'unattributed')"
        )

    def let_its_event_be_late(self, held):
        """Make the next webhook about a message on its way overdue."""
        late = "changed_at = changed_at - interval '1 hour', asked_at = NULL"
        self.sql(f"UPDATE mirror_message SET {late} WHERE public_id = %s", held.id)

    def let_outbox_lease_end(self, held):
        """Let the lease of an attempt to send expire, unless it is new. It would last
        minutes more if PostgreSQL was killed; a live attempt needs seconds.
        """
        overdue = "status = 'scheduled' AND lease_until < now() + interval '2 minutes'"
        self.sql(
            f"UPDATE gateway_email SET lease_until = now() WHERE id = %s AND {overdue}",
            held.upstream_id,
        )

    def let_fall_due(self, held):
        self._set(held, "due_at = now()", "state = 'recorded'")

    def bring_to_end(self, *messages, states=("applied",)):
        """Let leases, waiting times and back-offs end, and sweep and confirm until the
        decision on each message is in one of these states.
        """

        def ended():
            for held in messages:
                self.let_stuck_lease_end(held)
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
        """Send the sweep task now, which otherwise runs every few seconds."""
        self.celery.send_task("approvals.tasks.sweep", queue="sync")

    def reconcile(self):
        """Read all held messages now, which otherwise happens every half minute."""
        ours = "slug IN ('demo', 'neighbour')"
        self.sql(
            f"UPDATE mirror_connection SET read_at = NULL, wait_until = NULL WHERE {ours}"
        )
        self.celery.send_task("approvals.tasks.reconcile_all", queue="sync")

    def sweep_until(self, function, what, timeout=SOON):
        """Sweep, and sweep again, until `function` returns something; return that."""
        # Call it before the first sweep too: it may let time pass.
        with contextlib.suppress(AssertionError):
            if found := function():
                return found
        last = -SWEEP_PAUSE

        def swept():
            nonlocal last
            if time.monotonic() - last > SWEEP_PAUSE:
                last = time.monotonic()
                self.sweep()
            return function()

        return self.wait(swept, what, timeout)

    def wait_for_idle(self, but=0):
        """Wait until the desk's workers have nothing more to do, except for `but` tasks
        that the test keeps from ending.
        """
        # Check twice: a task on its way to a worker is for a moment neither in the
        # queue nor unacknowledged.
        self.wait(
            lambda: self._is_idle(but) and (time.sleep(0.15) or self._is_idle(but)),
            "the workers to be idle",
        )

    def _is_idle(self, but):
        """Whether no task of the desk waits in a queue, and workers have just `but`
        tasks, not counting those scheduled for later.
        """
        waiting = self.redis.llen("decisions") + self.redis.llen("sync")
        unacked = self.redis.hgetall("unacked").items()
        unacknowledged = [
            json.loads(text) for tag, text in unacked if tag not in self._lost
        ]
        in_work = [
            task
            for task, _, queue in unacknowledged
            if queue in ("decisions", "sync") and not task["headers"].get("eta")
        ]
        return not waiting and len(in_work) == but

    def sweep_to(self, held, *states):
        """Sweep until the newest decision on a message is in one of these states, and
        return it.
        """
        return self.sweep_until(*self._decision_in(held, states))

    @contextlib.contextmanager
    def lock(self, held):
        """Hold the row lock of the newest decision on a message, as another, slow
        transaction would.
        """
        with psycopg.connect(self.stack.env["DATABASE_OWNER_URL"]) as database:
            database.execute(
                "SELECT 1 FROM approvals_decision WHERE id = %s FOR UPDATE",
                [self.decision(held)["id"]],
            )
            yield database
            database.rollback()

    def restart(self, name):
        """Kill a process with SIGKILL and wait until the launcher has started
        another.
        """
        killed = self.stack.kill(name)
        self.give_up_unacked()
        self.wait(
            lambda: self.stack.pids().get(name, killed) != killed, f"another {name}"
        )

    def give_up_unacked(self):
        """Ignore the present unacknowledged tasks in `wait_for_idle`: their workers are
        dead, and the broker waits minutes before it hands them out again.
        """
        self._lost |= set(self.redis.hkeys("unacked"))

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
    """Start a product with proxies between desk and gateway, and without an undo
    window.

    The second mailbox keeps its undo window of five seconds. `running` is the context
    manager that starts the product.
    """
    upstream = Proxy()
    hooks = Proxy()
    allow = f"{upstream.url},{hooks.url}"
    product = running(tmp_path_factory, **{"OUTGOING_ALLOW": allow, **variables})
    with product as stack, between_proxies(stack, upstream, hooks) as rig:
        yield rig


@contextlib.contextmanager
def between_proxies(stack, upstream, hooks):
    """Connect desk and gateway of a running product through these proxies. Yield the
    rig, and close all at the end.
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
