"""Sends spans to OpenTelemetry: of requests, tasks, statements and outgoing calls."""

from importlib.metadata import entry_points
from typing import Any

from django.conf import settings
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from common.logs import trace_id

# Each in the older and the newer spelling, of which a variable may choose.
_KEPT = frozenset(
    """
    http.method http.request.method http.route http.status_code
    http.response.status_code error.type db.system db.system.name celery.action
    celery.state celery.task_name messaging.message.id messaging.destination
    """.split()
)


def begin() -> None:
    """Begin to send the spans of this process."""
    exporter = OTLPSpanExporter(f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces")
    provider = TracerProvider()
    provider.add_span_processor(_Processor(exporter))
    trace.set_tracer_provider(provider)
    for entry in entry_points(group="opentelemetry_instrumentor"):
        # Django's middleware comes second, after the one that sets the trace id.
        entry.load()().instrument(middleware_position=1)


class _Processor(BatchSpanProcessor):
    """Sends spans with the trace id of the logs, and without addresses, statements and
    texts of errors.
    """

    def on_end(self, span: Any) -> None:
        attributes = {
            name: span.attributes[name] for name in _KEPT & span.attributes.keys()
        }
        attributes["countersign.trace"] = trace_id.get()
        super().on_end(
            ReadableSpan(
                span.name,
                span.context,
                span.parent,
                span.resource,
                attributes,
                kind=span.kind,
                status=trace.Status(span.status.status_code),
                start_time=span.start_time,
                end_time=span.end_time,
            )
        )
