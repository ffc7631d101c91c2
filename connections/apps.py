"""The connections app."""

from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    name = "connections"

    def ready(self) -> None:
        # Commands that wait for a second admin are known by their names once they are
        # imported.
        import connections.accounts.commands
        import connections.accounts.own_webhook
        import connections.domains
        import connections.keys.commands
        import connections.kill_switch
        import connections.mailboxes.commands
        import connections.webhooks.commands  # noqa: F401
