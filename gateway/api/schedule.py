"""Editing what waits for its time."""

from ninja import Router

router = Router(tags=["messages"])
