"""The alerts app: listens to the ledger."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "alerts"

    def ready(self) -> None:
        from alerts.deliveries.planning import on_recorded
        from audit.recording import recorded

        recorded.connect(on_recorded, dispatch_uid="alerts.deliveries.planning")
