"""A stand-in for MultiMail, for the state machine of decisions: it answers over real
HTTP, and records all effects.

Requests of executors are parked until the state machine says how they end. So an
executor can be stopped, cut off or killed at each request. Other requests are answered
at once.
"""

import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from common.fingerprint import fingerprint
from common.references import references_in
from mirror.store import content_of
from tests.factories import event_body, pending_row
from tests.faults.proxy import reset
from tests.serving import Handler, serving

PATIENCE = 60
_WORDS = {"approve": "approved", "reject": "rejected"}


@dataclass
class Parked:
    """One parked request of an executor. `answer` is the answer that was right when it
    arrived, later the one to send; None cuts the connection.
    """

    is_call: bool
    body: dict[str, Any]
    answer: tuple[int, Any] | None
    released: threading.Event = field(default_factory=threading.Event)

    def let_go(self, answer):
        self.answer = answer
        self.released.set()


@dataclass(frozen=True)
class Effect:
    """One recorded effect: somebody's decision took effect on this content."""

    email_id: str
    action: str
    reason: str
    fingerprint: str


class World:
    """The state of MultiMail. With `repeats` a second approval sends the message again;
    otherwise the first decision wins.
    """

    def __init__(self):
        self.url = ""
        self.changed = threading.Condition()
        self.begin()

    def begin(self, *, repeats=False):
        """Reset everything, for another run."""
        self.repeats = repeats
        self.rows = {}
        self.decided = {}
        self.effects = []
        self.webhooks = []
        # Calls that may still arrive, although no executor waits for the answer.
        self.late = []
        self.parked = None
        self.parks_reads = False
        self.is_silent = self.forgets = False

    def hold(self, email_id, subject):
        self.rows[email_id] = pending_row(email_id, subject=subject)
        self.webhooks.append(event_body(email_id=email_id, subject=subject))

    def carry_out(self, body):
        """Carry out a call of `decide_email`, and return the answer."""
        email_id = body["email_id"]
        row = self.rows[body["email_id"]]
        present_fingerprint = fingerprint(content_of(row))
        earlier = self.decided.get(email_id)
        repeats = (
            self.repeats
            and earlier is not None
            and earlier.action == body["action"] == "approve"
        )
        both_from_desk = (
            earlier is not None
            and references_in(earlier.reason)
            and references_in(body["reason"])
        )
        if earlier and not (repeats and both_from_desk):
            return 409, {
                "error": "decided",
                "code": "not_pending",
                **self._outcome(earlier),
            }
        if body.get("expected_fingerprint") not in (None, present_fingerprint):
            return 409, {
                "error": "changed",
                "code": "content_changed",
                "status": "pending_send_approval",
            }
        effect = Effect(email_id, body["action"], body["reason"], present_fingerprint)
        self.effects.append(effect)
        self.decided.setdefault(email_id, effect)
        outcome = self._outcome(effect)
        self.webhooks.append(
            event_body(f"oversight.{outcome['decision']}", email_id=email_id, **outcome)
        )
        if effect.action == "approve":
            self.webhooks.append(
                event_body("message.sent", email_id=email_id, status="sent")
            )
        return 200, outcome

    def read(self, email_id):
        """Return the answer to a read: all held messages, or one message."""
        if self.is_silent:
            return 500, {"error": "not now"}
        if not email_id:
            held = [row for key, row in self.rows.items() if key not in self.decided]
            return 200, {"pending": held, "cursor": None}
        if email_id not in self.decided:
            return 200, {"pending": [self.rows[email_id]], "cursor": None}
        if self.forgets:
            return 404, {"error": "There is no such message in this account."}
        return 200, {
            "pending": [],
            "cursor": None,
            "email_id": email_id,
            **self._outcome(self.decided[email_id]),
        }

    def _outcome(self, effect):
        decided_by = "" if references_in(effect.reason) else "Somebody at MultiMail"
        status = "sent" if effect.action == "approve" else "rejected"
        return {
            "status": status, "decision": _WORDS[effect.action], "reason": effect.reason, "decided_by": decided_by,
        }  # fmt: skip

    def answer(self, method, path, body):
        """Return the answer to a request, after parking it if it is an executor's. None
        cuts the connection.
        """
        address = urlsplit(path)
        if address.path == "/v1/account":
            return 200, {"scopes": ["oversight"]}
        if address.path == "/v1/oversight/decide":
            return self._park(Parked(True, body, None))
        if address.path != "/v1/oversight/pending" or method != "GET":
            return 404, {"error": "not here"}
        answer = self.read(parse_qs(address.query).get("email_id", [""])[0])
        return self._park(Parked(False, body, answer)) if self.parks_reads else answer

    def _park(self, parked):
        with self.changed:
            self.parked = parked
            self.changed.notify_all()
        assert parked.released.wait(PATIENCE * 10), "a request was forgotten"
        return parked.answer


@contextlib.contextmanager
def serving_world():
    """Serve a `World` on a free port."""
    world = World()

    class Answers(Handler):
        def _answer(self):
            answer = world.answer(
                self.command, self.path, json.loads(self.body() or b"{}")
            )
            if answer is None:
                self.close_connection = True
                reset(self.connection)
                return
            self.reply(*answer, **{"X-Countersign-Gateway": "1"})

        do_GET = do_POST = _answer  # noqa: N815

        def finish(self):
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    with serving(Answers) as origin:
        world.url = origin
        yield world
