"""Addresses of the allowlists."""

from django.urls import path

from policy.allowlists import views as allowlists

urlpatterns = [
    path("allowlists/", allowlists.allowlists, name="allowlists"),
    path("allowlists/refusals/", allowlists.refusals, name="refusals"),
    path("allowlists/refusals/<int:refusal_id>/allow/", allowlists.allow_refused, name="allow-refused"),
    path("allowlists/entries/<int:entry_id>/", allowlists.entry, name="allow-entry"),
    path("allowlists/gates/<int:gate_id>/push/", allowlists.push_now, name="push-list"),
    path("allowlists/<slug:scope>/<slug:kind>/", allowlists.allowlist, name="allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/history/", allowlists.history, name="allowlist-history"),
    path("allowlists/<slug:scope>/<slug:kind>/preview/", allowlists.preview_change, name="preview-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/save/", allowlists.save, name="save-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/import/", allowlists.import_page, name="import-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/import/check/", allowlists.preview_import, name="preview-import"),
    path("allowlists/<slug:scope>/<slug:kind>/export/", allowlists.export, name="export-allowlist"),
]
