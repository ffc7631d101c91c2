"""The site itself."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from django.conf import settings

        if settings.SERVE != "gateway":
            from dashboard.live import hints

            hints.connect()
