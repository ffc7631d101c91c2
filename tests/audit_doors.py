"""The ledger's own doors: searches, exports, proofs, reports."""

from tests.doors_of import Door

AUDIT_DOORS: dict[str, Door] = {}
