"""Every address of the desk."""

from django.urls import include, path

from dashboard import views
from people.views import own_keys

urlpatterns = [
    path("", views.home, name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
    path("live/", views.live, name="live"),
    path("live/reach/", views.live_reach, name="live-reach"),
    path("csp-report/", views.csp_report, name="csp-report"),
    path("accounts/", include("people.urls")),
    path("people/me/keys/", own_keys, name="keys"),
    path("", include("approvals.urls")),
    path("", include("audit.urls")),
    path("", include("alerts.urls")),
]

handler400 = "dashboard.errors.bad_request"
handler403 = "dashboard.errors.forbidden"
handler404 = "dashboard.errors.not_found"
handler500 = "dashboard.errors.server_error"
