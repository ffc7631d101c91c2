"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        # A wrong key stops every process at its start, not at the first seal.
        from audit.sealing import signing

        signing.public_keys()
