"""Addresses of the ledger."""

from django.urls import include, path

from audit import views

urlpatterns = [
    path("audit/", views.ledger, name="audit"),
    path("audit/trace/<uuid:public_id>/", views.trace, name="trace"),
    path("audit/", include("audit.searching.urls")),
    path("audit/", include("audit.proving.urls")),
]
