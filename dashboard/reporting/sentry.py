"""Reports errors to Sentry."""

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration

from common.logs import trace_id

# Of an event, and of each exception in it.
_KEPT = frozenset(
    """
    event_id timestamp platform level logger release environment server_name
    type module stacktrace
    """.split()
)


def begin() -> None:
    """Begin to report the errors of this process."""
    sentry_sdk.init(
        settings.SENTRY_DSN,
        # Others would load whatever package is installed, also that of MCP.
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(), CeleryIntegration()],
        before_send=without_content,
        send_default_pii=False,
        # Variables of the functions that failed hold mail and keys.
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        # No headers of Sentry's in calls to others.
        trace_propagation_targets=[],
    )


def without_content(event: Any, _: Any) -> Any:
    """Return what of an event may be sent. The text of an exception is left out: it may
    quote mail, or a row of PostgreSQL.
    """
    errors = event.get("exception", {}).get("values", [])
    message = event.get("logentry", {}).get("message", "")
    kept = _only_kept(event)
    kept.update(
        tags={"trace": trace_id.get()},
        # Without its arguments. Further lines may be a traceback.
        logentry={"message": message.partition("\n")[0]},
        exception={"values": [_only_kept(error) for error in errors]},
    )
    return kept


def _only_kept(facts: Any) -> Any:
    return {name: facts[name] for name in _KEPT & facts.keys()}
