"""The alerts app: connects the alerts to the ledger when Django starts."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "alerts"

    def ready(self) -> None:
        # Importing the commands registers them by name, so that a pending change can
        # find its command.
        import alerts.destinations.commands  # noqa: F401
        from alerts.deliveries.personal import on_bounced, on_notices_made
        from alerts.deliveries.planning import on_recorded
        from audit.recording import recorded
        from common.desk_mail import bounced
        from notices.signals import made

        recorded.connect(on_recorded, dispatch_uid="alerts.deliveries.planning")
        made.connect(on_notices_made, dispatch_uid="alerts.deliveries.personal")
        bounced.connect(on_bounced, dispatch_uid="alerts.deliveries.personal")
