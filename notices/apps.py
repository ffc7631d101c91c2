"""The notices app: adds the number of unread notices to the pulse of open pages."""

from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "notices"

    def ready(self) -> None:
        from approvals.polling import MORE
        from notices.models import unread_count

        MORE["notices"] = unread_count
