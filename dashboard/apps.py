"""The site itself."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        # Publishing a wake-up needs the configured app, in every process: without it Celery looks for another broker.
        from django.conf import settings

        from dashboard import celery  # noqa: F401

        if settings.SERVE != "gateway":
            from dashboard.live import hints

            hints.connect()
