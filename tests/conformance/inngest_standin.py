"""A stand-in for Inngest's dev server: takes registrations and events, and calls
functions step by step.

It follows the protocol that Inngest documents for its SDKs: a call has the steps that
are done, the answer 206 names the next one, and 200 ends the run. A wait ends only when
the test says so. Of several events with the same id it accepts the first.
"""

import contextlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.serving import Handler, serving


@dataclass
class Inngest:
    """The state of the stand-in: the functions of the app, and events. Without `keys`
    it accepts any event key.
    """

    url: str = ""
    keys: set[str] = field(default_factory=set)
    functions: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def sync(self, app):
        """Ask the app to register its functions."""
        answer = requests.put(
            app, headers={"X-Inngest-Server-Kind": "dev"}, json={}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    def named(self, name):
        """The events with this name."""
        return [event for event in self.events if event["name"] == name]

    def take(self, events):
        """Add the events whose id is new, and those without an id."""
        for event in events:
            if not event.get("id") or event["id"] not in {
                one.get("id") for one in self.events
            }:
                self.events.append(event)


@dataclass
class Run:
    """One run of a function: `next` calls it until it waits or ends."""

    app: str
    function: str
    event: dict[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    steps: dict[str, Any] = field(default_factory=dict)

    def call(self):
        """Call the function once, with the steps that are done; return the answer."""
        done = {"stack": list(self.steps), "current": len(self.steps)}
        context = {
            "attempt": 0,
            "disable_immediate_execution": False,
            "run_id": self.id,
            "stack": done,
        }
        body = {
            "ctx": context,
            "event": self.event,
            "events": [self.event],
            "steps": self.steps,
            "use_api": False,
        }
        return requests.post(
            self.app,
            params={"fnId": self.function, "stepId": "step"},
            json=body,
            headers={"X-Inngest-Server-Kind": "dev"},
            timeout=30,
        )

    def next(self):
        """Run steps until the function waits for an event or ends. Return the waiting
        step, or {"op": "Ended", "output": ...}.
        """
        while True:
            answer = self.call()
            if answer.status_code == 200:
                return {"op": "Ended", "output": answer.json()}
            assert answer.status_code == 206, answer.text
            (step,) = answer.json()
            if step["op"] == "WaitForEvent":
                return step
            assert step["op"] == "StepRun", step
            self.steps[step["id"]] = {"data": step["data"]}

    def woken(self, step, event):
        """Go on after a wait, with its event, or with None when the time is over."""
        self.steps[step["id"]] = event
        return self.next()


@contextlib.contextmanager
def inngest():
    """Serve a stand-in on a free port."""
    standin = Inngest()

    class Answers(Handler):
        def do_POST(self):  # noqa: N802
            posted = json.loads(self.body())
            if self.path.startswith("/fn/register"):
                standin.functions = posted["functions"]
                return self.reply(200, {"ok": True, "modified": True})
            assert self.path.startswith("/e/"), self.path
            if standin.keys and self.path.removeprefix("/e/") not in standin.keys:
                return self.reply(401, {"error": "Event key not found", "status": 401})
            events = posted if isinstance(posted, list) else [posted]
            if not all(
                isinstance(event.get("name"), str)
                and isinstance(event.get("data"), dict)
                for event in events
            ):
                return self.reply(
                    400, {"error": "An event needs a name and data", "status": 400}
                )
            standin.take(events)
            return self.reply(
                200, {"ids": [uuid.uuid4().hex for _ in events], "status": 200}
            )

    with serving(Answers) as origin:
        standin.url = origin
        yield standin
