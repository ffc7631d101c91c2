"""A program that is told of events: a real server that keeps what it got, and answers as a test says."""

import contextlib
import json
import threading
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
    """`status`, `headers` and `body` are its answer; the body drips byte by byte with `drips`, and never ends."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drips: bool = False
    # It takes the request and never answers.
    is_silent: bool = False
    posts: list[Post] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def program() -> Iterator[Program]:
    """Serve one on a free port."""
    standin = Program()

    class Answers(Handler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            standin.posts.append(Post(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if standin.is_silent:
                standin.ends.wait(30)
                return
            self.send_response(standin.status)
            length = {} if standin.drips else {"Content-Length": str(len(standin.body))}
            for name, value in {**standin.headers, **length}.items():
                self.send_header(name, value)
            self.end_headers()
            # Whoever asked may have gone before the end.
            with contextlib.suppress(OSError):
                self.wfile.write(standin.body)
                while standin.drips and not standin.ends.wait(0.02):
                    self.wfile.write(b".")

    with serving(Answers) as origin:
        standin.url = origin
        try:
            yield standin
        finally:
            standin.ends.set()
