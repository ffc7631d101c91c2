"""Hundreds of messages under load while things break: agents send, reviewers decide over
HTTP, and records from outside must add up in the end.

What each message meets is drawn from the seed and its number, whoever comes to it and
when.
"""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from functools import partial

import psycopg
import pytest
import requests
from redis.exceptions import RedisError

from common.references import references_in
from tests.faults import wire
from tests.faults.desk_rig import desk_rig
from tests.faults.proxy import DECIDE, READ, WEBHOOK

MESSAGES = int(os.environ.get("SOAK_MESSAGES", "40"))
# The outcomes of messages, and their frequencies.
PLANS = {"approve": 65, "reject": 15, "undo": 10, "leave": 10}
OPEN = ("recorded", "calling", "unknown", "unattributed", "withdrawn")
# How long the last fault may take to be got over by the product itself and the people
# who are asked; and all before.
RECOVERY = 600
LOAD = 1200
# How often each process is killed, and each store emptied.
TIMES = 2
LOST = (requests.RequestException, ValueError, KeyError, AssertionError)

pytestmark = pytest.mark.soak


class Diary:
    """What the people and programs around the product observed, by upstream id."""

    def __init__(self):
        self.seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
        self.sent = {}
        self.accepted = {}
        self.undone = set()

    def plan(self, upstream_id):
        drawn = random.Random(f"{self.seed}:{self.sent[upstream_id]}")
        return drawn.choices([*PLANS], [*PLANS.values()])[0]


def subject_of(number):
    return f"Soak {number:05}"


def send(rig, diary, numbers):
    """Send messages until the numbers run out; after a lost answer, send again with the
    same key.
    """
    with contextlib.suppress(IndexError):
        while True:
            number = numbers.pop()
            subject = subject_of(number)
            fields = {"subject": subject, "idempotency_key": f"{subject} once"}
            while number not in diary.sent.values():
                try:
                    diary.sent[rig.product.send(**fields)[0]] = number
                except LOST:
                    time.sleep(0.3)


class Reviewer:
    """A reviewer who works through the queue, page by page, in a random order."""

    def __init__(self, rig, diary, prefix, number):
        self.diary = diary
        self.random = random.Random(f"{diary.seed}:{prefix}:{number}")
        self.browser = rig.product.reviewer(prefix)
        self.form = self.browser.get("/queue/")
        self.after = ""

    def work(self, is_over):
        while not is_over.is_set():
            try:
                self.work_through_page()
            except LOST:
                time.sleep(0.3)

    def work_through_page(self):
        path = f"/queue/?tab=waiting&after={self.after}&format=json"
        page = self.browser.get(path).json()
        self.after = page["next_after"] or ""
        rows = [row for row in page["messages"] if row["fingerprint"]]
        self.random.shuffle(rows)
        for row in rows:
            if row["upstream_id"] in self.diary.sent and row["decision"] in (
                None,
                "refused",
            ):
                self._decide(row)
        # A person does not reload the queue without a pause.
        time.sleep(1)

    def _decide(self, row):
        upstream_id = row["upstream_id"]
        plan = self.diary.plan(upstream_id)
        if plan == "leave" or upstream_id in self.diary.undone:
            return
        outcome = "reject" if plan == "reject" else "approve"
        if self.post(row, "verdict", outcome=outcome) == 302:
            self.diary.accepted[upstream_id] = outcome
            if plan == "undo" and self.post(row, "undo") == 302:
                self.diary.undone.add(upstream_id)

    def post(self, row, act, **fields):
        """Post a form, and return the status: 302 only for what was done."""
        fields |= {"fingerprint": row["fingerprint"], "reason": "Not like this."}
        answer = self.browser.post(f"/queue/{row['id']}/{act}/", self.form, **fields)
        location = answer.headers.get("Location", "")
        return 401 if "/accounts/" in location else answer.status_code

    def look_after_doubt(self):
        """Confirm what reading has shown to be held still."""
        for row in self.browser.queue("unknown"):
            self.post(row, "send-again")


class Chaos:
    """Injects one fault after another, each once before any repeats."""

    def __init__(self, rig, diary):
        self.rig = rig
        self.random = random.Random(f"{diary.seed}:chaos")
        self._wire = {
            "answer of a call lost": (wire.lose_answer, DECIDE),
            "call cut before MultiMail has it": (wire.cut_before, DECIDE),
            "500 before a call": (wire.answering(500), DECIDE),
            "500 after a call": (wire.answering_after(500), DECIDE),
            "429 to a call": (wire.answering(429, Retry_After="2"), DECIDE),
            "read cut": (wire.cut_before, READ),
            "webhook lost": (wire.cut_before, WEBHOOK),
            "webhook's answer lost": (wire.lose_answer, WEBHOOK),
        }
        self._acts = {
            "worker-desk killed": lambda: rig.restart("worker-desk"),
            "Redis emptied": rig.redis.flushall,
            "PostgreSQL killed": lambda: rig.restart("postgres"),
        }
        self._done = Counter()

    def work(self, is_over):
        names = [*self._wire, *self._acts]
        for name in self.random.sample(names, len(names)):
            self._inject(name)
        while not is_over.is_set():
            self._inject(self.random.choice(names))

    def _inject(self, name):
        if name in self._wire:
            fault, kind = self._wire[name]
            proxy = self.rig.hooks if kind == WEBHOOK else self.rig.upstream
            with proxy.fault(fault, kind, times=self.random.randint(1, 5)):
                time.sleep(self.random.uniform(0.5, 2))
        elif self._done[name] < TIMES:
            self._done[name] += 1
            with contextlib.suppress(OSError, RedisError):
                self._acts[name]()
        # What was killed or emptied must work again before the next fault: that is what
        # the soak tests.
        time.sleep(self.random.uniform(1, 4))


def test_soak_ends_with_equal_sums(tmp_path_factory):
    with desk_rig(tmp_path_factory) as rig:
        # Nothing is done for it here: it reads by itself, and leaves time to undo.
        rig.sql(
            "DELETE FROM dashboard_tick WHERE job = 'approvals.tasks.reconcile_all'"
        )
        rig.product.set_undo_window("2 seconds")
        diary = Diary()
        print(f"soak of {MESSAGES} messages with SOAK_SEED={diary.seed}")
        # Everybody signs in before things break.
        reviewers = [
            Reviewer(rig, diary, prefix, number)
            for number in range(2)
            for prefix in ("REVIEWER", "REVIEWER2")
        ]
        load(rig, diary, reviewers)
        recover(rig, reviewers[0])
        check(rig, diary)


def load(rig, diary, reviewers):
    """Send and decide everything while things break."""
    numbers = list(range(MESSAGES))
    is_over = threading.Event()
    works = [partial(one.work, is_over) for one in (*reviewers, Chaos(rig, diary))]
    works += [partial(send, rig, diary, numbers)] * 3
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    rig.wait(lambda: was_decided(rig, diary), "everything to be decided", LOAD)
    is_over.set()
    for thread in threads:
        thread.join()


def was_decided(rig, diary):
    """By the desk's own rows: who gave a verdict may never have got the answer."""
    if len(diary.sent) < MESSAGES:
        return False
    planned = {key for key in diary.sent if diary.plan(key) != "leave"}
    query = "SELECT m.upstream_id FROM mirror_message m JOIN approvals_decision d ON d.message_id = m.id"
    try:
        return planned <= {row["upstream_id"] for row in rig.sql(query)}
    except psycopg.OperationalError:
        return False


def recover(rig, reviewer):
    """Nothing breaks any more. The product gets over it, and people do what they are
    asked for.
    """

    def is_over():
        reviewer.look_after_doubt()
        reviewer.work_through_page()
        left = unfinished(rig)
        assert not left, str(left)
        return True

    rig.wait(is_over, "everything to end", RECOVERY)


def unfinished(rig):
    """What is not over yet, in the desk, at the gateway, or between them."""
    queries = {
        "decisions": f"SELECT count(*) AS n FROM approvals_decision WHERE state IN {OPEN}",
        "mirror": (
            "SELECT count(*) AS n FROM gateway_email e LEFT JOIN mirror_message m ON m.upstream_id = e.id "
            "WHERE e.subject LIKE 'Soak %%' AND CASE e.status "
            "WHEN 'pending_send_approval' THEN m.state IS DISTINCT FROM 'held' "
            "WHEN 'rejected' THEN m.state IS DISTINCT FROM 'rejected' "
            "ELSE coalesce(m.state NOT IN ('approved', 'scheduled_approved', 'sent', 'delivered'), true) END"
        ),
        "leaving": "SELECT count(*) AS n FROM gateway_email WHERE status = 'scheduled'",
    }
    counted = {name: rig.sql(query)[0]["n"] for name, query in queries.items()}
    return {name: count for name, count in counted.items() if count}


def check(rig, diary):
    """Every sum is equal, and nothing is unexplained: by records of which none is what
    the desk says of itself alone.
    """
    sent = list(diary.sent)
    query = "SELECT id, status, decision FROM gateway_email WHERE id = ANY(%s)"
    emails = {row["id"]: row for row in rig.sql(query, sent)}
    assert len(emails) == MESSAGES
    subjects = Counter(mail["Subject"] for mail in rig.product.all_mails())
    mails = {key: subjects[subject_of(number)] for key, number in diary.sent.items()}
    assert max(mails.values()) == 1, "a mail left more than once"
    for key, row in emails.items():
        assert bool(mails[key]) == (row["decision"] == "approved"), row
    decisions = rig.sql(
        "SELECT d.outcome, d.state, d.reference, m.upstream_id FROM approvals_decision d "
        "JOIN mirror_message m ON m.id = d.message_id WHERE m.upstream_id = ANY(%s)",
        sent,
    )
    applied = {one["reference"]: one for one in decisions if one["state"] == "applied"}
    effects = rig.sql(
        "SELECT resource_id, action, metadata FROM gateway_auditlogentry WHERE resource_id = ANY(%s) "
        "AND action IN ('email.approved', 'email.rejected')",
        sent,
    )
    # Each effect is that of one applied decision, and each of these had one.
    assert len(effects) == len(applied) == len({row["resource_id"] for row in effects})
    for effect in effects:
        decision = applied[references_in(effect["metadata"]["reason"])[-1]]
        assert decision["upstream_id"] == effect["resource_id"]
        was_approved = effect["action"] == "email.approved"
        assert was_approved == (decision["outcome"] == "approve")
    recorded = {one["upstream_id"] for one in decisions}
    assert set(diary.accepted) <= recorded, (
        "a verdict was answered as taken and is gone"
    )
    for key in diary.undone:
        assert emails[key]["status"] == "pending_send_approval", "it was undone"
