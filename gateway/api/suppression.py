"""Addresses that get nothing any more."""

from ninja import Router

router = Router(tags=["recipients"])
