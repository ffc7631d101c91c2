"""A stand-in for MultiMail over HTTP: answers as a test says, records requests."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.serving import standing_in


@dataclass
class MultiMail:
    """The state of the stand-in.

    `answers` maps a path to (status, body); bytes are sent as they are. `pages` maps a
    cursor to the page of held messages that it stands for, or to an answer. `single` is
    the answer to each read of one message, or a function of its id. Messages in `unknown` are answered with 404.
    """

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(
        default_factory=lambda: {"X-Countersign-Gateway": "1"}
    )
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    pages: dict[str, Any] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    single: Any = None
    # By HTTP method, a function that is called after a request has arrived and before
    # it is answered.
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)

    def forget(self):
        """Reset everything but the address."""
        self.__init__(url=self.url)

    def holds(self, *rows, **more):
        """Answer every read of held messages with these rows."""
        self.pages = {}
        self.answers["/v1/oversight/pending"] = (
            200,
            {"pending": list(rows), "cursor": None, **more},
        )

    def decides(self, status, /, **body):
        """Answer every decision with this status and body."""
        self.answers["/v1/oversight/decide"] = (status, body)

    @property
    def paths(self):
        """The paths of all requests, in order."""
        return [path for _, path, _ in self.calls]

    @property
    def decisions(self):
        """The bodies of all decisions that arrived."""
        return [body for method, _, body in self.calls if method == "POST"]


def multimail():
    """Serve a stand-in on a free port."""
    standin = MultiMail()

    def answer(handler):
        standin.calls.append(
            (handler.command, handler.path, json.loads(handler.body() or b"null"))
        )
        standin.keys.append(
            handler.headers.get("Authorization", "").removeprefix("Bearer ")
        )
        address = urlsplit(handler.path)
        status, body = standin.answers.get(address.path, (404, {"error": "not here"}))
        if standin.pages and address.path == "/v1/oversight/pending":
            page = standin.pages[address.query.partition("cursor=")[2]]
            status, body = page if isinstance(page, tuple) else (200, page)
        if standin.single and "email_id=" in address.query:
            status, body = (
                standin.single(address.query.partition("email_id=")[2])
                if callable(standin.single)
                else standin.single
            )
        if address.query.partition("email_id=")[2] in standin.unknown:
            status = 404
            body = {"error": "There is no such message in this account."}
        standin.meanwhile.get(handler.command, lambda: None)()
        handler.reply(status, body, **standin.headers)

    return standing_in(standin, answer)
