"""PostgreSQL's 64-bit transaction id as a model field."""

from typing import Any

from django.db import models


class TransactionIdField(models.Field):  # type: ignore[type-arg]
    """A transaction id (`xid8`), an int in Python. The driver reads and writes it as
    text, so it is converted in both directions.
    """

    def db_type(self, connection: object) -> str:
        return "xid8"

    def from_db_value(
        self, value: Any, expression: object, connection: object
    ) -> int | None:
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(value)
