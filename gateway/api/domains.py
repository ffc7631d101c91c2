"""Domains of the account."""

from ninja import Router

router = Router(tags=["account"])
