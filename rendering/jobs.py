"""The parser's jobs that render a message, and how a job that reads a message's content
is made: it gets the content as JSON, and answers with JSON.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from common.fingerprint import Content, content_from_json
from parsing.jobs import Job
from rendering.original import draw_original
from rendering.render import render_message


def json_job(read: Callable[[Content], Any], seconds: int = 5) -> Job:
    """Return a job that calls `read` on a content, and answers with the dataclass or
    text that it returns.
    """

    def run(request: bytes) -> bytes:
        content = content_from_json(json.loads(request))
        return json.dumps(read(content), default=asdict).encode()

    return Job(run, seconds)


JOBS = {
    "render_message": json_job(render_message),
    "draw_original": json_job(draw_original),
}

# The process that handles a request cannot open files. So these two renderings, done
# when the parser starts, load everything that is read from files at first use.
render_message(
    Content(
        html="<a href='https://xn--mnchen-3ya.example/'>münchen.example</a> 中 &copy;",
        markdown="**x**",
    )
)
render_message(Content(markdown="**x** | y\n--|--"))
