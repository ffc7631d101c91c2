"""Says which connection a row belongs to, and since when that is not well: what a worker's places are shared by."""

from datetime import datetime
from typing import Any

from approvals.models import Decision
from mirror.models import AttachedFile, Connection, Message, Thread
from policy.models import GateList

# From a row to its connection.
_WAYS: dict[Any, str] = {
    Message: "connection__",
    Decision: "message__connection__",
    AttachedFile: "message__connection__",
    Thread: "mailbox__connection__",
    GateList: "mailbox__connection__",
    Connection: "",
}


def connection_of(model: Any, row_id: int) -> tuple[int, datetime | None] | None:
    """Return the key of a row's connection, and since when it fails; None where there is no such row any more."""
    way = _WAYS[model]
    rows = model.objects.filter(pk=row_id).values_list(f"{way}id", f"{way}failing_since")
    found: tuple[int, datetime | None] | None = rows.first()
    return found
