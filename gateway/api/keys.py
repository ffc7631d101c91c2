"""API keys."""

from ninja import Router

router = Router(tags=["account"])
