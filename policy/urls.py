"""Addresses of the allowlists."""

from django.urls import path

from policy.allowlists import change_views, refusal_views
from policy.allowlists import views as allowlists

urlpatterns = [
    path("allowlists/", allowlists.allowlists, name="allowlists"),
    path("allowlists/refusals/", refusal_views.refusals, name="refusals"),
    path("allowlists/refusals/<int:refusal_id>/allow/", refusal_views.allow_refused, name="allow-refused"),
    path("allowlists/entries/<int:entry_id>/", allowlists.entry, name="allow-entry"),
    path("allowlists/gates/<int:gate_id>/push/", refusal_views.push_now, name="push-list"),
    path("allowlists/<slug:scope>/<slug:kind>/", allowlists.allowlist, name="allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/history/", allowlists.history, name="allowlist-history"),
    path("allowlists/<slug:scope>/<slug:kind>/preview/", change_views.preview_change, name="preview-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/save/", change_views.save, name="save-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/import/", change_views.import_page, name="import-allowlist"),
    path("allowlists/<slug:scope>/<slug:kind>/import/check/", change_views.preview_import, name="preview-import"),
    path("allowlists/<slug:scope>/<slug:kind>/export/", change_views.export, name="export-allowlist"),
]
