"""Conversations."""

from ninja import Router

router = Router(tags=["messages"])
