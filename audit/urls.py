"""Addresses of the ledger."""

from django.urls import path

from audit.search import saved_views
from audit.search import views as search
from audit.trail import views as trail
from audit.verification import views as verification

urlpatterns = [
    path("audit/", search.ledger, name="audit"),
    path("audit/searches/", saved_views.save, name="save-search"),
    path("audit/searches/<int:search_id>/delete/", saved_views.delete, name="delete-search"),
    path("audit/trace/<uuid:public_id>/", trail.trace, name="trace"),
    path("audit/trace/<uuid:public_id>/proof.json", trail.trace_proof_json, name="trace-proof-json"),
    path("audit/trace/<uuid:public_id>/proof.txt", trail.trace_proof_text, name="trace-proof-text"),
    path("audit/trace/<uuid:public_id>/proof.html", trail.trace_proof_html, name="trace-proof-html"),
    path("audit/verify/", verification.ledger_state, name="ledger-state"),
    path("audit/verify/check/", verification.check_ledger, name="check-ledger"),
    path("audit/verify/compare/", verification.compare_ledger, name="compare-ledger"),
    path("audit/verify/head.json", verification.newest_head, name="newest-head"),
    path("audit/verify/countersign_verify.py", verification.verifier, name="verifier"),
]
