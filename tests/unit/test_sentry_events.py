"""What of an event goes to Sentry, whatever the packages of Sentry put into it."""

from common.logs import traced
from dashboard.reporting.sentry import without_content

WORDS = "confidential words"
EVENT = {
    "event_id": "1",
    "level": "error",
    "logger": "celery",
    "logentry": {
        "message": "Task %s failed\nTraceback",
        "params": [WORDS],
        "formatted": WORDS,
    },
    "exception": {
        "values": [
            {"type": "ValueError", "value": WORDS, "mechanism": {"data": WORDS}},
            {"type": "DataError", "value": f"DETAIL: {WORDS}", "stacktrace": {}},
        ]
    },
    "transaction": f"/join/{WORDS}",
    "request": {"url": WORDS, "data": WORDS, "headers": WORDS, "cookies": WORDS},
    "user": {"ip_address": WORDS},
    "extra": {"celery-job": {"args": [WORDS]}},
    "breadcrumbs": {"values": [{"message": WORDS}]},
    "contexts": {"trace": {"description": WORDS}},
    "tags": {"url": WORDS},
}


def test_event_keeps_kinds_and_places_and_gets_the_trace_id():
    with traced("asked-1"):
        kept = without_content(EVENT, {})
    assert kept == {
        "event_id": "1",
        "level": "error",
        "logger": "celery",
        "logentry": {"message": "Task %s failed"},
        "exception": {
            "values": [{"type": "ValueError"}, {"type": "DataError", "stacktrace": {}}]
        },
        "tags": {"trace": "asked-1"},
    }
