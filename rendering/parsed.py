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
    Words,
    outline_of_text,
)
from rendering.source_view import render_source

# Seconds that a page waits; its thread is needed by others.
PATIENCE = 20.0


def render_message(content: Content, *, found: Words | None = None) -> RenderedMessage:
    """Return the message as its recipient gets it, safe to show; its source where it
    cannot be read safely.

    `found` are words of its plain text that get a mark. Raises ParserUnavailable.
    """
    try:
        answer = _asked("render_message", {"content": asdict(content), "found": found})
        return RenderedMessage.from_json(answer)
    except ParserKilled:
        return render_source(content, NOT_SAFE)


def parse_content(content: Content) -> ParsedContent:
    """Return all that findings, search and comparison need of a content. Raises
    ParserUnavailable.
    """
    try:
        return ParsedContent.from_json(_asked("parse_content", asdict(content)))
    except ParserKilled:
        return unparsed_content(content)


def unparsed_content(content: Content) -> ParsedContent:
    """Return a content that cannot be read safely: its source is its text."""
    source = content.html or ""
    shown = render_source(content, NOT_SAFE)
    return ParsedContent(
        shown=shown, words=source, template=source, outlines=(outline_of_text(source),)
    )


def _asked(job: str, request: Any) -> Any:
    return json.loads(parse(job, json.dumps(request).encode(), patience=PATIENCE))
