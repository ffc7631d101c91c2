"""The mirror app."""

from django.apps import AppConfig


class MirrorConfig(AppConfig):
    name = "mirror"

    def ready(self) -> None:
        from audit import visibility
        from mirror.models import Connection, Message

        visibility.register(
            messages=Message.objects.visible_to,
            connections=Connection.objects.visible_to,
        )
