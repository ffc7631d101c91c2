"""The jobs that the parser does on messages: each gets a message's content as JSON and
answers with its rendering, or all that was parsed of it, as JSON.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from common.fingerprint import Content, content_from_json
from parsing.jobs import Job
from rendering.render import parse_content, render_message


# Returns a job that calls `read` and answers with the dataclass that it returns, as
# JSON.
def _json_job(read: Callable[[Content], Any]) -> Job:
    def run(request: bytes) -> bytes:
        return json.dumps(asdict(read(content_from_json(json.loads(request))))).encode()

    return Job(run)


JOBS = {
    "render_message": _json_job(render_message),
    "parse_content": _json_job(parse_content),
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
