"""The Django app of the gateway."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The self-hosted MultiMail-compatible API."""

    name = "gateway"
    verbose_name = "Gateway"
