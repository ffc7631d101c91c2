"""A program that is told of events: a real server that keeps what it got, and answers as a test says."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.serving import Handler, serving


@dataclass(frozen=True)
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Program:
    """`status`, `headers` and `body` are its answer."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    posts: list[Post] = field(default_factory=list)


@contextlib.contextmanager
def program() -> Iterator[Program]:
    """Serve one on a free port."""
    standin = Program()

    class Answers(Handler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            standin.posts.append(Post(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(standin.status)
            for name, value in {**standin.headers, "Content-Length": str(len(standin.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            # Whoever asked may have gone before the end.
            with contextlib.suppress(OSError):
                self.wfile.write(standin.body)

    with serving(Answers) as origin:
        standin.url = origin
        yield standin
