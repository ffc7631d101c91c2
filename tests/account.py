"""A stand-in for the part of MultiMail's API that the desk's admin pages call: keys
with scopes, and webhooks whose secret can change. `account` serves one over HTTP.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.serving import standing_in


@dataclass
class Account:
    """The state of the stand-in, which a test changes.

    `scopes` are by key. `breaks` maps the end of a path to "before" or "after": the
    connection is then closed without an answer, before or after the request is carried
    out. `refuses` maps the end of a path to the status of a refusal.
    """

    url: str = ""
    scopes: dict[str, Any] = field(default_factory=dict)
    tells_scopes: bool = True
    # Keys that belong to another account.
    foreign: set[str] = field(default_factory=set)
    hooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    breaks: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    # Called with the event's id when a test event is requested.
    deliver: Callable[[str], None] = lambda event_id: None
    deliveries: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, method, path, key, body):
        """Return the status and body that MultiMail would answer with."""
        if key not in self.scopes:
            return 401, {"error": "Unknown key."}
        if path == "/v1/account":
            return 200, {
                "id": "other" if key in self.foreign else "acc",
                **({"scopes": self.scopes[key]} if self.tells_scopes else {}),
            }
        if path == "/v1/oversight/pending":
            sees = "oversight" in self.scopes[key]
            return (
                (200, {"pending": []}) if sees else (403, {"error": "Missing scope."})
            )
        if "admin" not in self.scopes[key]:
            return 403, {"error": "Missing scope."}
        return self._of_hooks(method, path, body)

    def _of_hooks(self, method, path, body):
        if path == "/v1/webhook-deliveries":
            return 200, {"deliveries": self.deliveries}
        if (method, path) == ("POST", "/v1/webhooks"):
            hook = {
                "id": f"hook{len(self.hooks) + 1}",
                "url": body["url"],
                "events": body["events"],
            }
            self.hooks[hook["id"]] = hook | {
                "secret": body.get("secret") or "whsec_of_its_own"
            }
            return 201, self.hooks[hook["id"]]
        if path == "/v1/webhooks":
            shown = [
                {name: text for name, text in hook.items() if name != "secret"}
                for hook in self.hooks.values()
            ]
            return 200, {"webhooks": shown}
        hook_id, _, act = path.removeprefix("/v1/webhooks/").partition("/")
        if hook_id not in self.hooks:
            return 404, {"error": "There is no such webhook."}
        if method == "DELETE":
            del self.hooks[hook_id]
            return 200, {"status": "deleted"}
        if act == "rotate":
            self.hooks[hook_id]["secret"] = body["secret"]
        if act == "test":
            self.deliver("evt_test")
            return 200, {"event_id": "evt_test"}
        return 200, self.hooks[hook_id]


def account(**scopes):
    """Serve a stand-in on a free port. Each argument makes a key `mm_live_<name>_key`
    with those scopes.
    """
    standin = Account(
        scopes={f"mm_live_{name}_key": reply for name, reply in scopes.items()}
    )

    def answer(handler):
        body = json.loads(handler.body() or b"{}")
        path = handler.path.partition("?")[0]
        key = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        standin.calls.append((handler.command, path))
        last_part = path.rpartition("/")[2]
        if standin.breaks.get(last_part) == "before":
            return
        status, reply = standin.answer(handler.command, path, key, body)
        if last_part in standin.refuses:
            status = standin.refuses[last_part]
            reply = {"error": "Not now."}
        if standin.breaks.get(last_part) == "after":
            return
        handler.reply(status, reply)

    return standing_in(standin, answer)
