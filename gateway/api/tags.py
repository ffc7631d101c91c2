"""Tags on messages."""

from ninja import Router

router = Router(tags=["messages"])
