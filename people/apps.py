"""The people app: records signing in and out in the ledger."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "people"

    def ready(self) -> None:
        from people.sign_in import events as sign_ins

        sign_ins.connect()
