"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        # So that a malformed SEAL_KEY stops every process at its start, and not only
        # when the first seal is made.
        from audit.sealing import signing

        signing.public_keys()
