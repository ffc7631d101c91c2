"""Every address of the desk."""

from django.urls import include, path

from dashboard import views
from dashboard.first_run import views as first_run

urlpatterns = [
    path("", views.home, name="home"),
    path("setup/", first_run.setup, name="setup"),
    path("setup/away/", first_run.put_away, name="setup-away"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
    path("live/", views.live, name="live"),
    path("live/reach/", views.live_reach, name="live-reach"),
    path("csp-report/", views.csp_report, name="csp-report"),
    path("accounts/", include("people.urls")),
    path("people/me/", include("people.own_urls")),
    path("people/", include("people.admin_urls")),
    path("join/", include("people.joining_urls")),
    path("audit/reports/", include("people.report_urls")),
    path("audit/export/", include("people.export_urls")),
    path("", include("approvals.urls")),
    path("", include("policy.urls")),
    path("", include("connections.urls")),
    path("", include("audit.urls")),
    path("", include("alerts.urls")),
    path("", include("alerts.channels.discord.interactions.urls")),
]

handler400 = "dashboard.frame.errors.bad_request"
handler403 = "dashboard.frame.errors.forbidden"
handler404 = "dashboard.frame.errors.not_found"
# django-allauth asks for it by this name.
handler429 = "dashboard.frame.errors.too_many_tries"
handler500 = "dashboard.frame.errors.server_error"
