"""Addresses of the ledger."""

from django.urls import path

from audit import views

urlpatterns = [
    path("audit/", views.ledger, name="audit"),
    path("audit/trace/<uuid:public_id>/", views.trace, name="trace"),
]
