"""The notices app: adds the number of unread notices to the pulse of open pages, and
receives what people reply to mails.
"""

from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "notices"

    def ready(self) -> None:
        from approvals.polling import MORE
        from common.desk_mail import replied
        from notices.models import unread_count
        from notices.replies import on_replied

        MORE["notices"] = unread_count
        replied.connect(on_replied, dispatch_uid="notices.replies")
