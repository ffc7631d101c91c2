"""Has messages read and rendered by the parser: a content goes to a process apart, and
values come back.
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

# Seconds that a page waits; its thread is needed by others.
PATIENCE = 20.0


def render_message(content: Content) -> RenderedMessage:
    """Return the message as its recipient gets it, safe to show; its source where it
    cannot be read safely. Raises ParserUnavailable.
    """
    try:
        return RenderedMessage.from_json(_asked("render_message", content))
    except ParserKilled:
        return render_source(content, NOT_SAFE)


def parse_content(content: Content) -> ParsedContent:
    """Return all that findings, search and comparison need of a content. Raises
    ParserUnavailable.
    """
    try:
        return ParsedContent.from_json(_asked("parse_content", content))
    except ParserKilled:
        return unparsed_content(content)


def unparsed_content(content: Content) -> ParsedContent:
    """Return a content that cannot be read safely: its source is its text."""
    source = content.html or ""
    shown = render_source(content, NOT_SAFE)
    return ParsedContent(
        shown=shown, words=source, template=source, outlines=(outline_of_text(source),)
    )


def _asked(job: str, content: Content) -> Any:
    request = json.dumps(asdict(content)).encode()
    return json.loads(parse(job, request, patience=PATIENCE))
