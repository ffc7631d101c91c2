"""The policy app."""

from django.apps import AppConfig


class PolicyConfig(AppConfig):
    name = "policy"

    def ready(self) -> None:
        # Commands that wait for a second admin are known by their names once they are
        # imported.
        import policy.allowlists.changes
        import policy.kill_switch
        import policy.plans.commands
        import policy.rules.changes  # noqa: F401
