"""The site itself."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        # Every process must load the configured Celery app: without it Celery would use its default broker.
        from django.conf import settings

        from dashboard import celery  # noqa: F401

        if settings.SERVE != "gateway":
            from dashboard.live import hints

            hints.connect()
