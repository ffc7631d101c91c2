"""The account itself."""

from ninja import Router

router = Router(tags=["account"])
