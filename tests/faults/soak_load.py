"""The load of the soak: agents that send, reviewers who decide over HTTP, and faults
meanwhile.

What each message meets is drawn from the seed and its number, whoever comes to it and
when. Who decided what, and what they were answered, is kept by those who asked: it is
one of the outside records that must add up in the end.
"""

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import requests
from redis.exceptions import RedisError

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ, WEBHOOK

# The outcomes of messages, and their frequencies.
PLANS = {
    "approve": 60,
    "reject": 12,
    "send_back": 8,
    "undo": 8,
    "elsewhere": 2,
    "leave": 10,
}
_DECIDED = ("approve", "reject", "send_back", "undo")
# How often each process is killed or stopped, and each store emptied.
TIMES = 2
_LOST = (requests.RequestException, ValueError, KeyError, AssertionError)


@dataclass
class Diary:
    """What the people and programs around the product observed."""

    seed: int
    sent: dict[str, int] = field(default_factory=dict)
    # Accepted verdicts, by upstream id.
    accepted: dict[str, str] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    elsewhere: dict[str, str] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def plan(self, number):
        """What the message of this number is to meet."""
        return random.Random(f"{self.seed}:{number}").choices(
            [*PLANS], [*PLANS.values()]
        )[0]

    def subject(self, number):
        return f"Soak {self.seed}-{number:05}"


def send(rig, diary, numbers):
    """Send messages until the numbers run out; after a lost answer, send again with the
    same key.
    """
    while True:
        try:
            number = numbers.pop()
        except IndexError:
            return
        subject = diary.subject(number)
        while number not in diary.sent.values():
            try:
                upstream_id, _ = rig.product.send(
                    subject=subject, idempotency_key=f"{subject} once"
                )
                diary.sent[upstream_id] = number
            except _LOST:
                diary.answers["send: again"] += 1
                time.sleep(0.3)


class Reviewer:
    """A reviewer with a session who works through the queue, page by page, in a random
    order.
    """

    def __init__(self, rig, diary, prefix, number):
        self.rig = rig
        self.diary = diary
        self.random = random.Random(f"{diary.seed}:{prefix}:{number}")
        self.browser = rig.product.reviewer(prefix)
        self.form = self.browser.get("/queue/")
        while "csrfmiddlewaretoken" not in self.form.text:
            self.form = self.browser.get("/accounts/logout/")
        self.after = ""

    def work(self, is_over):
        while not is_over():
            try:
                self.work_through_page()
            except _LOST:
                self.diary.answers["reviewer: no answer"] += 1
                time.sleep(0.3)

    def work_through_page(self):
        page = self.browser.get(
            f"/queue/?tab=waiting&after={self.after}&format=json"
        ).json()
        rows = [
            row for row in page["messages"] if row["fingerprint"] and self._is_mine(row)
        ]
        self.random.shuffle(rows)
        for row in rows:
            self._decide(row)
        self.after = page["next_after"] or ""
        if not rows:
            time.sleep(0.5)

    def _is_mine(self, row):
        number = self.diary.sent.get(row["upstream_id"])
        if number is None or self.diary.plan(number) not in _DECIDED:
            return False
        if row["decision"] == "refused":
            return True
        # Sometimes two reviewers open the same message.
        return row["decision"] is None and (
            row["upstream_id"] not in self.diary.accepted or self.random.random() < 0.02
        )

    def _decide(self, row):
        upstream_id = row["upstream_id"]
        plan = self.diary.plan(self.diary.sent[row["upstream_id"]])
        if (
            row["decision"] is None
            and upstream_id in self.diary.accepted
            and self.random.random() > 0.1
        ):
            return
        outcome = "approve" if plan == "undo" else plan
        if self.random.random() < 0.1:
            self.browser.get(f"/queue/{row['id']}/")
        answer = self.post(
            row["id"],
            "verdict",
            outcome=outcome,
            fingerprint=row["fingerprint"],
            reason="Not like this.",
        )
        self.diary.answers[f"verdict: {answer}"] += 1
        if answer != 302:
            return
        self.diary.accepted[upstream_id] = outcome
        if plan == "undo" and self.post(row["id"], "undo") == 302:
            self.diary.undone.add(upstream_id)

    def post(self, message_id, act, **fields):
        """Post a form, and return the status: 302 only for what was done."""
        answer = self.browser.post(f"/queue/{message_id}/{act}/", self.form, **fields)
        signed_out = (
            answer.status_code == 302 and "/accounts/" in answer.headers["Location"]
        )
        return 401 if signed_out else answer.status_code

    def look_after_doubt(self):
        """Confirm what reading has shown to be held still; reject what was withdrawn."""
        for row in self.browser.queue("unknown"):
            if row["decision"] == "withdrawn":
                fields = {
                    "outcome": "reject",
                    "fingerprint": row["fingerprint"],
                    "reason": "Stopped.",
                }
                self.diary.answers[
                    f"reject after withdrawing: {self.post(row['id'], 'verdict', **fields)}"
                ] += 1
            elif row["decision"] == "unknown":
                self.diary.answers[
                    f"confirm: {self.post(row['id'], 'send-again')}"
                ] += 1

    def withdraw_some(self):
        """Stop a few of those whose outcome is not known."""
        for row in self.browser.queue("unknown"):
            if row["decision"] == "unknown" and self.random.random() < 0.03:
                self.diary.answers[f"withdraw: {self.post(row['id'], 'withdraw')}"] += 1


def decide_elsewhere(rig, diary, upstream_id, number):
    """Decide at MultiMail itself, without the desk."""
    action = random.Random(f"{diary.seed}:{number}:elsewhere").choice(
        ["approve", "reject"]
    )
    body = {"email_id": upstream_id, "action": action, "reason": "decided elsewhere"}
    with contextlib.suppress(requests.RequestException):
        answer = rig.product.call(
            "POST", "/v1/oversight/decide", key="OVERSIGHT_KEY", json=body
        )
        if answer.status_code == 200 or (
            answer.status_code == 409 and "elsewhere" in answer.text
        ):
            diary.elsewhere[upstream_id] = action


class Chaos:
    """Injects one fault after another, in an order given by the seed."""

    def __init__(self, rig, diary):
        self.rig = rig
        self.diary = diary
        self.random = random.Random(f"{diary.seed}:chaos")
        self._wire = {
            "answer of a call lost": (wire.lose_answer, DECIDE),
            "call cut before MultiMail has it": (wire.cut_before, DECIDE),
            "answer of a call cut short": (wire.truncate, DECIDE),
            "500 before a call": (wire.answering(500), DECIDE),
            "500 after a call": (wire.answering_after(500), DECIDE),
            "429 to a call": (wire.answering(429, Retry_After="2"), DECIDE),
            "403 to a call": (wire.answering(403), DECIDE),
            "read cut": (wire.cut_before, READ),
            "429 to a read": (wire.answering(429, Retry_After="1"), READ),
            "webhook lost": (wire.cut_before, WEBHOOK),
            "500 to a webhook": (wire.answering(500), WEBHOOK),
            "webhook's answer lost": (wire.lose_answer, WEBHOOK),
        }
        self._acts = {
            "call delayed": self._delay,
            "MultiMail out of reach": self._refuse,
            "worker-desk killed": lambda: rig.restart("worker-desk"),
            "worker-desk stopped for a while": self._stop_worker,
            "Redis emptied": lambda: bool(rig.redis.flushall()) and None,
            "PostgreSQL killed": lambda: rig.restart("postgres"),
        }
        self._bag = []

    def work(self, is_over):
        while not is_over():
            self._one()

    def _one(self):
        # Each fault occurs once before any repeats.
        self._bag = self._bag or self.random.sample(
            [*self._wire, *self._acts], len(self._wire) + len(self._acts)
        )
        name = self._bag.pop()
        if name in self._acts:
            if self.diary.faults[name] < TIMES:
                self.diary.faults[name] += 1
                with contextlib.suppress(OSError, RedisError):
                    self._acts[name]()
                # A killed or emptied process must work again before the next fault:
                # that is what the soak tests.
                time.sleep(self.random.uniform(3, 8))
            return
        self.diary.faults[name] += 1
        fault, kind = self._wire[name]
        proxy = self.rig.hooks if kind == WEBHOOK else self.rig.upstream
        times = 1 if name.startswith("403") else self.random.randint(1, 5)
        with proxy.fault(fault, kind, times=times):
            time.sleep(self.random.uniform(0.5, 2))
        time.sleep(self.random.uniform(1, 4))

    def _delay(self):
        held = wire.Hold()
        with self.rig.upstream.fault(held, DECIDE, times=1):
            if held.arrived.wait(5):
                time.sleep(self.random.uniform(1, 3))
                held.release()

    def _refuse(self):
        with self.rig.upstream.refusing():
            time.sleep(self.random.uniform(0.5, 2))

    def _stop_worker(self):
        self.rig.stack.kill("worker-desk", signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 3))
        self.rig.stack.kill("worker-desk", signal.SIGCONT)


def in_threads(*works):
    """Start each in its own thread."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads
