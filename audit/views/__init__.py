"""Pages of the ledger."""

from audit.views.ledger import ledger
from audit.views.trace import trace, trace_proof_html, trace_proof_json, trace_proof_text

__all__ = ["ledger", "trace", "trace_proof_html", "trace_proof_json", "trace_proof_text"]
