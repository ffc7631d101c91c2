"""The policy app."""

from django.apps import AppConfig


class PolicyConfig(AppConfig):
    name = "policy"

    def ready(self) -> None:
        # Importing these modules registers their commands, which may have to wait for a
        # second admin and are then found by name.
        import policy.kill_switch
        import policy.review_plans
        import policy.rules.changes  # noqa: F401
