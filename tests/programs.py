"""A small HTTP server that receives webhooks in tests: it records each request, and
answers as the test says.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from requests.structures import CaseInsensitiveDict

from tests.serving import standing_in


@dataclass(frozen=True)
class Post:
    """One received request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self):
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Program:
    """The state of the server. `status`, `headers` and `body` are its answer;
    `statuses` has another status for some paths.
    """

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    posts: list[Post] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)

    def posts_to(self, path):
        """The requests to a path."""
        return [post for post in self.posts if post.path == path]


def program():
    """Serve such a program on a free port."""
    standin = Program()

    def answer(handler):
        standin.posts.append(
            Post(handler.path, CaseInsensitiveDict(handler.headers), handler.body())
        )
        handler.reply(
            standin.statuses.get(handler.path, standin.status),
            standin.body,
            **standin.headers,
        )

    return standing_in(standin, answer)
