"""Has a message parsed and rendered by the parser, a confined process: sends its
content as JSON and returns the result as dataclasses. Runs in the site and its workers.
"""

import json
from dataclasses import asdict
from typing import Any

from common.fingerprint import Content
from parsing.client import ParserKilled, parse
from rendering.result import (
    NOT_SAFE,
    ParsedContent,
    RenderedMessage,
    outline_of_text,
)
from rendering.source_view import render_source

# Seconds that a page waits for the parser: its thread must not be busy for longer.
PATIENCE = 20.0


def render_message(content: Content) -> RenderedMessage:
    """Return the message as its recipient gets it, safe to show; its source if the
    parser was killed over it. Raises ParserUnavailable.
    """
    try:
        return RenderedMessage.from_json(_ask_parser("render_message", content))
    except ParserKilled:
        return render_source(content, NOT_SAFE)


def parse_content(content: Content) -> ParsedContent:
    """Return what risk findings, search and comparison need of a content; its source if
    the parser was killed over it. Raises ParserUnavailable.
    """
    try:
        return ParsedContent.from_json(_ask_parser("parse_content", content))
    except ParserKilled:
        return unparsed_content(content)


def unparsed_content(content: Content) -> ParsedContent:
    """Return the result for a content that cannot be parsed safely: its HTML source
    serves as its text.
    """
    source = content.html or ""
    shown = render_source(content, NOT_SAFE)
    return ParsedContent(
        shown=shown, words=source, template=source, outlines=(outline_of_text(source),)
    )


def _ask_parser(job: str, content: Content) -> Any:
    request = json.dumps(asdict(content)).encode()
    return json.loads(parse(job, request, patience=PATIENCE))
