"""Formats log lines without secrets: one JSON object a line, or text. Every line about
one message has the same trace id, from the API to the mail server and the Discord post.

Fields are given by name (`log.info("webhook stored", extra={"event": ...})`); nothing
else is written, so a body or a secret reaches the log only if somebody names it there.
"""

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime

trace_id: ContextVar[str] = ContextVar("trace_id", default="")

# The attributes that every record has; any other was given as a field.
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
    "request",
}
# Discord webhook addresses, API keys and one-time links are secrets even inside
# somebody else's exception text.
_SECRETS = re.compile(
    r"(/api/(?:v\d+/)?webhooks/\d+/)[\w-]+|(mm_(?:live|test)_)\w+|(whsec_)[\w+/=-]+|(/(?:join|me/chat)/)[\w-]{20,}"
)


# Lines of PostgreSQL's errors that quote a statement or a row, and so perhaps mail.
_QUOTED = re.compile(r"^(LINE \d+:|DETAIL:|CONTEXT:).*$", re.MULTILINE)


def mask_secrets(text: str) -> str:
    """Return `text` with webhook tokens, API keys, signing secrets and one-time links
    replaced by a mark.
    """
    return _SECRETS.sub(r"\1\2\3\4[hidden]", text)


# The trace id in a `traceparent` of W3C's Trace Context, or any other short name.
_GIVEN = re.compile(
    r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-.{19}|([\w.-]{1,64})", re.ASCII
)


def given_id(*values: object) -> str:
    """Return the id under which a caller knows a request: the first of the values of
    X-Request-Id and `traceparent` that is usable here. Empty if none is.
    """
    for value in values:
        match = _GIVEN.fullmatch(str(value or ""))
        if match and not _SECRETS.search(match[0]):
            return match[1] or match[2]
    return ""


@contextlib.contextmanager
def traced(value: str) -> Iterator[None]:
    """Give every log line inside the block the trace id `value`."""
    token = trace_id.set(value)
    try:
        yield
    finally:
        trace_id.reset(token)


def _without_secrets(text: str) -> str:
    return mask_secrets(_QUOTED.sub(r"\1 [hidden]", text))


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people, without secrets, and without the parts of
    PostgreSQL's errors that may quote mail.
    """

    def format(self, record: logging.LogRecord) -> str:
        return _without_secrets(super().format(record))


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in a line. Control characters are escaped, so
    no text can forge a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if trace := trace_id.get():
            line["trace"] = trace
        line |= {
            name: value for name, value in vars(record).items() if name not in _ORDINARY
        }
        if record.exc_info:
            line["error"] = _without_secrets(self.formatException(record.exc_info))
        return mask_secrets(json.dumps(line, default=str, ensure_ascii=True))
