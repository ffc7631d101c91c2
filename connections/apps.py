"""The connections app."""

from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    name = "connections"

    def ready(self) -> None:
        # Commands that wait for a second admin are known by their names once they are imported.
        import connections.accounts.fingerprints
        import connections.keys.commands
        import connections.kill_switch.hold_all
        import connections.mailboxes.minimum  # noqa: F401
