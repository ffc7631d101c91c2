"""The audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        # A key that is none is said at the start of every process, not at the first seal.
        from audit.sealing import signing

        signing.check_keys()
