"""The mirror app: tells the ledger's pages which messages and connections a person may
see.
"""

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
