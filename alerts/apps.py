"""The alerts app: listens to the ledger."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "alerts"

    def ready(self) -> None:
        # Commands that wait for a second admin are known by their names once they are
        # imported.
        import alerts.destinations.commands  # noqa: F401
        from alerts.deliveries.planning import on_recorded
        from audit.recording import recorded

        recorded.connect(on_recorded, dispatch_uid="alerts.deliveries.planning")
