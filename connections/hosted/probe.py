"""Calls to a MultiMail that is tried, and what of their answers may be told."""

import json
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from upstream import errors
from upstream.client import Client, path
from upstream.wire import Answer

# Seconds that MultiMail may ask to wait.
MAX_WAIT = 60
_NAME = re.compile(r"[a-z][a-z_]{0,39}")


# No answer to one call of MultiMail is larger.
MOST_READ = 8 * 1024 * 1024


class NotSeen(Exception):
    """Why a fact could not be looked at, as a phrase without content."""


class Probe(Client):
    """MultiMail's API with one key. Whatever it answers is an answer here."""

    def exchange(self, *args: Any, **options: Any) -> Answer:
        return self._exchange(*args, **{"limit": MOST_READ, **options})


class Host:
    """One MultiMail, with keys by kind. `answers` has the last answer to each call, by
    its words and status.
    """

    def __init__(self, address: str, keys: dict[str, str]) -> None:
        known = keys | {"unknown": "mm_live_of_nobody"}
        self.probes = {
            kind: Probe(base_url=address, key=key) for kind, key in known.items() if key
        }
        self.answers: dict[str, Answer] = {}
        self._reads: dict[tuple[str, ...], Answer | NotSeen] = {}
        # What the sandbox step sent, and what became of it.
        self.sent: dict[str, Any] = {}

    def call(
        self,
        kind: str,
        method: str,
        template: str,
        *parts: str,
        body: Any = None,
        **params: str,
    ) -> Answer:
        """Make one call with this kind of key, and once more if MultiMail says how many
        seconds to wait. Raises NotSeen where no answer comes.
        """
        if kind not in self.probes:
            raise NotSeen(f"no {kind} key was given")
        probe = self.probes[kind]
        target = path(template, *parts)
        for _ in range(2):
            try:
                answer = probe.exchange(method, target, params=params, body=body)
            except errors.UpstreamError as error:
                raise NotSeen(f"{method} {template}: {type(error).__name__}") from None
            wait = answer.headers.get("Retry-After", "")
            if answer.status != 429 or not wait.isdecimal() or int(wait) > MAX_WAIT:
                break
            time.sleep(int(wait))
        self.answers[f"{method} {template} {answer.status}"] = answer
        return answer

    def read(self, kind: str, template: str, *parts: str) -> Answer:
        """Return the answer to a GET, which is asked for once."""
        asked = (kind, template, *parts)
        if asked not in self._reads:
            try:
                self._reads[asked] = self.call(kind, "GET", template, *parts)
            except NotSeen as error:
                self._reads[asked] = error
        if isinstance(found := self._reads[asked], NotSeen):
            raise found
        return found

    def object(self, kind: str, template: str, *parts: str) -> dict[str, Any]:
        """Return the JSON object of a GET. Raises NotSeen where it is refused."""
        answer = self.read(kind, template, *parts)
        found = parsed(answer)
        if answer.status != 200:
            raise NotSeen(f"GET {template} answered {answer.status}")
        if found is None:
            raise NotSeen(f"GET {template} answered 200 without a JSON object")
        return found

    def rows(self, kind: str, template: str, *parts: str) -> list[dict[str, Any]]:
        """Return the rows of the list in the answer to a GET. Raises NotSeen where it
        is empty.
        """
        rows = rows_in(self.object(kind, template, *parts))
        if not rows:
            raise NotSeen(f"GET {template} lists nothing")
        return rows

    def mailbox(self, kind: str = "read") -> str:
        """Return the id of the first mailbox that a key sees."""
        return str(self.rows(kind, "/v1/mailboxes")[0].get("id"))


Look = Callable[[Host], str]
# The function that looks at each fact, by its section of docs/multimail.md.
Facts = dict[str, dict[str, Look]]


def parsed(answer: Answer) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None where it is something else."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def rows_in(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of the first list in an answer."""
    listed = (value for value in found.values() if isinstance(value, list))
    return [row for row in next(listed, []) if isinstance(row, dict)]


def names(words: Iterable[Any]) -> str:
    """Return names of fields and words of states. What does not look like one could be
    content, and stays unnamed.
    """
    found = {
        word if isinstance(word, str) and _NAME.fullmatch(word) else "(no name)"
        for word in words
    }
    return ", ".join(sorted(found)[:20])


def without(found: dict[str, Any], *wanted: str) -> str:
    """Return which of these fields are missing."""
    missing = [name for name in wanted if name not in found]
    return f"without {', '.join(missing)}" if missing else ""
