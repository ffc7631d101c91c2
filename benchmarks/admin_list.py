"""The control of `desk_queue`: the same held messages in a plain list of Django's admin, as anybody would set it up.

For the process of that benchmark alone: the product itself has no pages of Django's admin.
"""

from collections.abc import Callable
from typing import Any

APP = "django.contrib.admin"


def message_list() -> Callable[[Any], Any]:
    """Return the view of the list, and let this thread's addresses be the admin's.

    Django must be set up, with the admin among its apps.
    """
    from django.contrib import admin
    from django.http import HttpRequest
    from django.urls import path, set_urlconf

    from approvals.querysets.messages import desk_messages
    from mirror.models import Message

    class Everybody(admin.AdminSite):
        """Who may look is not what is measured."""

        def has_permission(self, request: HttpRequest) -> bool:
            return True

        def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
            return []

    class MessageAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
        """What the queue shows of a message, each in a column."""

        list_display = ("held_at", "to", "subject", "mailbox", "findings", "holder", "started_by", "last")
        list_filter = ("mailbox", "risk_level")
        list_per_page = 50
        ordering = ("held_at", "id")
        search_fields = ("subject",)

        def get_queryset(self, request: HttpRequest) -> Any:
            return desk_messages().awaiting_review()

        @admin.display
        def to(self, message: Message) -> str:
            return ", ".join(message.recipients)

        @admin.display
        def findings(self, message: Message) -> str:
            return ", ".join(one["rule"] for one in message.revision.findings) if message.revision else ""

        @admin.display
        def holder(self, message: Message) -> str:
            return str(message.claim.person) if hasattr(message, "claim") else ""

        @admin.display
        def last(self, message: Message) -> str:
            return str(message.latest_decision or "")

        def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
            return True

        def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
            return True

        def has_add_permission(self, request: HttpRequest) -> bool:
            return False

        def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
            return False

    site = Everybody()
    site.register(Message, MessageAdmin)
    set_urlconf((path("admin/", site.urls),))  # type: ignore[arg-type]
    return site.admin_view(site.get_model_admin(Message).changelist_view)
