"""What of an event goes to Sentry, whatever the packages of Sentry put into it."""

import json

from common.logs import traced
from dashboard.reporting.sentry import without_content

EVENT = json.loads(r"""
{
 "event_id": "1",
 "level": "error",
 "logger": "celery",
 "logentry": {"message": "Task %s failed\nTraceback", "params": ["secret"], "formatted": "secret"},
 "exception": {"values": [{"type": "ValueError", "value": "secret",
   "mechanism": {"data": "secret"}},
  {"type": "DataError", "value": "DETAIL: secret", "stacktrace": {}}]},
 "transaction": "/join/secret",
 "request": {"url": "secret", "data": "secret", "headers": "secret", "cookies": "secret"},
 "user": {"ip_address": "secret"},
 "extra": {"celery-job": {"args": ["secret"]}},
 "breadcrumbs": {"values": [{"message": "secret"}]},
 "contexts": {"trace": {"description": "secret"}},
 "tags": {"url": "secret"}
}
""")


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
