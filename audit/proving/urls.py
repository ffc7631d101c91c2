"""Addresses of proofs and of the ledger's own state."""

from django.urls import path

from audit.views import verify

urlpatterns = [
    path("verify/", verify.ledger_state, name="ledger-state"),
    path("verify/check/", verify.check_ledger, name="check-ledger"),
    path("verify/compare/", verify.compare_ledger, name="compare-ledger"),
    path("verify/head.json", verify.newest_head, name="newest-head"),
    path("verify/countersign_verify.py", verify.verifier, name="verifier"),
]
