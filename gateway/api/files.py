"""Attached files, by signed URL."""

from ninja import Router

router = Router(tags=["messages"])
