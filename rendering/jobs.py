"""What the parser does with messages: a content comes as JSON, and so does what was
read of it.
"""

import json
from dataclasses import asdict

from common.fingerprint import Content, content_from_json
from parsing.jobs import Job
from rendering.render import parse_content, render_message


def _render(request: bytes) -> bytes:
    asked = json.loads(request)
    found = tuple(asked["found"]) if asked["found"] else None
    rendered = render_message(content_from_json(asked["content"]), found=found)
    return json.dumps(asdict(rendered)).encode()


def _parse(request: bytes) -> bytes:
    return json.dumps(
        asdict(parse_content(content_from_json(json.loads(request))))
    ).encode()


JOBS = {"render_message": Job(_render), "parse_content": Job(_parse)}

# What is loaded from files at first use is loaded now: the process of a request can
# open none.
render_message(
    Content(
        html="<a href='https://xn--mnchen-3ya.example/'>münchen.example</a> 中 &copy;",
        markdown="**x**",
    )
)
render_message(Content(markdown="**x** | y\n--|--"))
