"""Has a message rendered by the parser, a confined process: sends its content as JSON
and returns the result as a dataclass. Runs in the site and its workers.
"""

import json
from dataclasses import asdict
from typing import Any

from common.fingerprint import Content
from parsing.client import ParserKilled, parse
from rendering.result import NOT_SAFE, RenderedMessage
from rendering.source_view import render_source

# Seconds that a page waits for the parser: its thread must not be busy for longer.
PATIENCE = 20.0


def render_message(content: Content) -> RenderedMessage:
    """Return the message in its simple form, safe to show; its source if the parser was
    killed over it. Raises ParserUnavailable.
    """
    try:
        return RenderedMessage.from_json(ask_parser("render_message", asdict(content)))
    except ParserKilled:
        return render_source(content, NOT_SAFE)


def draw_original(content: Content) -> str:
    """Return the document that shows what a browser makes of the original; its source
    if the parser was killed over it. Raises ParserUnavailable.
    """
    try:
        return str(ask_parser("draw_original", asdict(content)))
    except ParserKilled:
        return render_source(content, NOT_SAFE).document


def ask_parser(job: str, request: Any) -> Any:
    """Return the answer of a job that reads and writes JSON. Raises ParserKilled or
    ParserUnavailable.
    """
    return json.loads(parse(job, json.dumps(request).encode(), patience=PATIENCE))
