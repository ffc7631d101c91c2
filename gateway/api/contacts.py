"""Contacts."""

from ninja import Router

router = Router(tags=["recipients"])
