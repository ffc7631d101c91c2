"""How much an account used."""

from ninja import Router

router = Router(tags=["account"])
