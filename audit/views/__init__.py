"""Pages of the ledger."""

from audit.views.ledger import ledger
from audit.views.trace import trace

__all__ = ["ledger", "trace"]
