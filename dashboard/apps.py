"""The site itself."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from django.conf import settings

        # Celery's manual imports the app in `__init__.py`, which the live process, free
        # of Django, has too.
        import dashboard.celery  # noqa: F401

        if settings.SERVE != "gateway":
            from dashboard.live import hints

            hints.connect()
