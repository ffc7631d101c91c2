"""The connections app."""

from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    name = "connections"

    def ready(self) -> None:
        # Importing these modules registers their commands that can wait for a second
        # admin. A stored change names its command.
        import connections.accounts.commands
        import connections.accounts.own_webhook
        import connections.domains
        import connections.keys.commands
        import connections.kill_switch
        import connections.mailboxes.commands
        import connections.webhooks.commands  # noqa: F401
