"""Addresses of exports of the ledger.

They stand with people, not with the ledger: taking history out asks who one is (security line 41), and the ledger knows
nobody.
"""

from django.urls import path

from people.exports import again, export, export_file, one, past

urlpatterns = [
    path("", export, name="export"),
    path("past/", past, name="exports"),
    path("<uuid:export_id>/", one, name="export-one"),
    path("<uuid:export_id>/file", export_file, name="export-file"),
    path("<uuid:export_id>/again/", again, name="export-again"),
]
