"""Calls of the MultiMail that `hosted_check` checks, and helpers that report about its
answers without showing content of messages.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from common.exchange import Answer
from upstream import errors
from upstream.client import Client, path

# After a 429, wait so many seconds at most.
MAX_WAIT = 60
# What the name of a field or status looks like.
_NAME = re.compile(r"[a-z][a-z_]{0,39}")


# The longest answer, in bytes.
MOST_READ = 8 * 1024 * 1024


class NotSeen(Exception):
    """A fact cannot be checked. The text says why, without content of messages."""


class Probe(Client):
    """MultiMail's API with one key. It returns each answer, whatever its status."""

    def exchange(self, *args: Any, **options: Any) -> Answer:
        return self._exchange(*args, limit=MOST_READ, **options)


class Host:
    """The MultiMail to check, with a client for each kind of key. `answers` has the
    last answer to each call, by method, path and status.
    """

    def __init__(self, address: str, keys: dict[str, str]) -> None:
        all_keys = keys | {"unknown": "mm_live_of_nobody"}
        self.probes = {
            kind: Probe(base_url=address, key=key)
            for kind, key in all_keys.items()
            if key
        }
        self.answers: dict[str, Answer] = {}
        self._reads: dict[tuple[str, ...], Answer | NotSeen] = {}
        # The steps of sandbox.py that are not taken yet.
        self.steps: Iterator[str] | None = None

    def call(
        self,
        kind: str,
        method: str,
        template: str,
        *parts: str,
        body: Any = None,
        **params: str,
    ) -> Answer:
        """Make one call with this kind of key. After a 429, wait as long as MultiMail
        asks and call once more. Raises NotSeen if there is no answer or no such key.
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
        """Return the answer to a GET, which is made only once."""
        read = (kind, template, *parts)
        if read not in self._reads:
            try:
                self._reads[read] = self.call(kind, "GET", template, *parts)
            except NotSeen as error:
                self._reads[read] = error
        if isinstance(result := self._reads[read], NotSeen):
            raise result
        return result

    def object(self, kind: str, template: str, *parts: str) -> dict[str, Any]:
        """Return the JSON object of a GET. Raises NotSeen if there is none."""
        answer = self.read(kind, template, *parts)
        body = parsed(answer)
        if answer.status != 200:
            raise NotSeen(f"GET {template} answered {answer.status}")
        if body is None:
            raise NotSeen(f"GET {template} answered 200 without a JSON object")
        return body

    def rows(self, kind: str, template: str, *parts: str) -> list[dict[str, Any]]:
        """Return the rows of the list in the answer to a GET. Raises NotSeen if there
        are none.
        """
        rows = rows_in(self.object(kind, template, *parts))
        if not rows:
            raise NotSeen(f"GET {template} lists nothing")
        return rows

    def mailbox(self, kind: str = "read") -> str:
        """Return the id of the first mailbox that this kind of key sees."""
        return str(self.rows(kind, "/v1/mailboxes")[0].get("id"))


# The check of one fact: it returns what is different, or an empty text.
Look = Callable[[Host], str]
# The facts and their checks, by section of docs/multimail.md.
Facts = dict[str, dict[str, Look]]


def parsed(answer: Answer) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if it has none."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def rows_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of the first list in an answer."""
    listed = (value for value in body.values() if isinstance(value, list))
    return [row for row in next(listed, []) if isinstance(row, dict)]


def names(words: Iterable[Any]) -> str:
    """Return names of fields and statuses as text, sorted. What does not look like such
    a name could be content of a message, and is shown as "(no name)".
    """
    body = set[str]()
    for word in words:
        is_name = isinstance(word, str) and _NAME.fullmatch(word)
        body.add(word if is_name else "(no name)")
    return ", ".join(sorted(body)[:20])


def without(body: dict[str, Any], *wanted: str) -> str:
    """Return which of these fields are missing, as text; empty if none is."""
    missing = [name for name in wanted if name not in body]
    return f"without {', '.join(missing)}" if missing else ""
