"""The URLs of the ledger's pages: search, audit trails and proofs, and verification."""

from django.urls import path

from audit.search import views as search
from audit.trail import views as trail
from audit.verification import views as verification

urlpatterns = [
    path("audit/", search.ledger, name="audit"),
    path("audit/searches/", search.save, name="save-search"),
    path("audit/searches/<int:search_id>/delete/", search.delete, name="delete-search"),
    path("audit/trace/<uuid:public_id>/", trail.message_trail, name="trace"),
    path(
        "audit/trace/<uuid:public_id>/proof.json",
        trail.proof,
        {"form": "json"},
        name="trace-proof-json",
    ),
    path(
        "audit/trace/<uuid:public_id>/proof.html",
        trail.proof,
        {"form": "html"},
        name="trace-proof-html",
    ),
    path("audit/verify/", verification.ledger_state, name="ledger-state"),
    path("audit/verify/check/", verification.check_ledger, name="check-ledger"),
    path("audit/verify/compare/", verification.compare_ledger, name="compare-ledger"),
    path("audit/verify/head.json", verification.newest_head, name="newest-head"),
    path("audit/verify/countersign_verify.py", verification.verifier, name="verifier"),
]
