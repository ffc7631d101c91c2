"""What the parser does with messages: a content comes as JSON, and so does what was
read of it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from common.fingerprint import Content, content_from_json
from parsing.jobs import Job
from rendering.render import parse_content, render_message


def _answering(read: Callable[[Content], Any]) -> Job:
    def run(request: bytes) -> bytes:
        return json.dumps(asdict(read(content_from_json(json.loads(request))))).encode()

    return Job(run)


JOBS = {
    "render_message": _answering(render_message),
    "parse_content": _answering(parse_content),
}

# What is loaded from files at first use is loaded now: the process of a request can
# open none.
render_message(
    Content(
        html="<a href='https://xn--mnchen-3ya.example/'>münchen.example</a> 中 &copy;",
        markdown="**x**",
    )
)
render_message(Content(markdown="**x** | y\n--|--"))
