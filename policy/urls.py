"""Addresses of the allowlists."""

from django.urls import path

from policy.allowlists import change_views as allowlist_changes
from policy.allowlists import refusal_views as refusals
from policy.allowlists import views as allowlists

urlpatterns = [
    path("allowlists/", allowlists.allowlists, name="allowlists"),
    path("allowlists/refusals/", refusals.refusals, name="refusals"),
    path("allowlists/refusals/<int:refusal_id>/allow/", refusals.allow_refused, name="allow-refused"),
    path("allowlists/entries/<int:entry_id>/", allowlists.entry, name="allow-entry"),
    path("allowlists/gates/<int:gate_id>/push/", refusals.push_now, name="push-list"),
    path("allowlists/<slug:scope>/<slug:kind>/", allowlists.allowlist, name="allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/history/", allowlists.history, name="allowlist-history"),
    path("allowlists/<slug:scope>/<slug:kind>/preview/", allowlist_changes.preview_change, name="preview-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/save/", allowlist_changes.save, name="save-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/import/", allowlist_changes.import_page, name="import-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/import/check/", allowlist_changes.preview_import, name="preview-import"),
    path("allowlists/<slug:scope>/<slug:kind>/export/", allowlist_changes.export, name="export-allowlist"),
]
