"""The parser's jobs that render a message: each gets the content as JSON."""

from common.fingerprint import Content, content_from_json
from parsing.jobs import json_job
from rendering.original import draw_original
from rendering.render import render_message

JOBS = {
    "render_message": json_job(
        lambda content: render_message(content_from_json(content))
    ),
    "draw_original": json_job(
        lambda content: draw_original(content_from_json(content))
    ),
}

# The process that handles a request cannot open files. So these two renderings, done
# when the parser starts, load everything that is read from files at first use.
render_message(
    Content(
        html="<a href='https://xn--mnchen-3ya.example/'>münchen.example</a> 中 &copy;"
    )
)
render_message(Content(markdown="**x** | y\n--|--"))
