"""Addresses of proofs and of the ledger's own state."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
