"""The site itself."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from django.conf import settings

        if settings.SERVE != "gateway":
            from dashboard import hints

            hints.connect()
