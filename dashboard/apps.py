"""The Django app of the site. When Django starts, it loads Celery and connects the
receivers of live updates.
"""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from django.conf import settings

        # Celery's manual says to import its app in `__init__.py`. But the process of
        # the live streams imports that file too, and uses neither Celery nor Django.
        import dashboard.celery  # noqa: F401

        if settings.SERVE != "gateway":
            from dashboard.live import hints

            hints.connect()
