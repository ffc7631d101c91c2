"""The Django app of the site. When Django starts, it loads Celery, connects the
receivers of live updates, and adds the checks of what the desk runs on.
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
            from approvals.operations.attention import SOURCES, STANDSTILLS
            from dashboard.health.checks import examine, standstills
            from dashboard.live import hints

            hints.connect()
            STANDSTILLS.append(standstills)
            SOURCES.append(lambda actor: examine() if actor.is_admin_of_all else [])
