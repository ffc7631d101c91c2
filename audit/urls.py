"""Addresses of the ledger."""

from django.urls import include, path

from audit import views

urlpatterns = [
    path("audit/", views.ledger, name="audit"),
    path("audit/trace/<uuid:public_id>/", views.trace, name="trace"),
    path("audit/trace/<uuid:public_id>/proof.json", views.trace_proof_json, name="trace-proof-json"),
    path("audit/trace/<uuid:public_id>/proof.txt", views.trace_proof_text, name="trace-proof-text"),
    path("audit/trace/<uuid:public_id>/proof.html", views.trace_proof_html, name="trace-proof-html"),
    path("audit/", include("audit.searching.urls")),
    path("audit/", include("audit.proving.urls")),
]
