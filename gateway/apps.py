"""The Django app of the gateway; it also starts the SMTP listener in one worker."""

import os

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The self-hosted MultiMail-compatible API."""

    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Add the SMTP listener to this Celery worker, if the launcher set INBOUND in
        its environment.
        """
        if "INBOUND" not in os.environ:
            return
        from celery import current_app

        from gateway.inbound.smtp_server import InboundStep

        current_app.steps["worker"].add(InboundStep)
