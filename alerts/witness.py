"""Posts the ledger's heads where a third party keeps them."""


def post_heads() -> int:
    """Return how many were posted."""
    return 0
