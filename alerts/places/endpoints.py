"""Which addresses may be an Inngest event URL or the receiver of a signed webhook, said in words where one may not."""


def problem_with_inngest(url: str) -> str:
    """Return in words why this address cannot be an Inngest event URL, and what to do; empty where it can."""
    raise NotImplementedError


def problem_with_endpoint(url: str) -> str:
    """Return in words why no signed webhook can go to this address, and what to do; empty where one can."""
    raise NotImplementedError


def masked_endpoint(url: str) -> str:
    """Return where an address leads without what would let somebody post there."""
    raise NotImplementedError
