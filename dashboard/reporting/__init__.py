"""Reports errors to Sentry and spans to OpenTelemetry, if a variable names where. Without
it, none of their packages is imported.

A report has only what is on a list: kinds of errors, places in the code, routes, names
of tasks, times and the trace id. Texts, addresses and values stay in the logs of this
host, where the trace id finds them.
"""

import os
from importlib import import_module

from django.conf import settings


def begin() -> None:
    """Begin to report for this process, before Django's middleware is loaded."""
    # Without "baggage", which would carry the text of a caller to others. It is read when
    # the package is loaded, by whichever module.
    os.environ.setdefault("OTEL_PROPAGATORS", "tracecontext")
    if settings.SENTRY_DSN:
        import_module("dashboard.reporting.sentry").begin()
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        os.environ.setdefault("OTEL_SERVICE_NAME", f"countersign-{settings.SERVE}")
        import_module("dashboard.reporting.spans").begin()
