"""Replying to a message, in every dialect."""

from ninja import Router

router = Router(tags=["send"])
