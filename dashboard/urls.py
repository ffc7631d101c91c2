"""All URLs of the desk, and its error handlers."""

from django.urls import include, path

from dashboard import first_run
from dashboard.frame.app import manifest, service_worker
from dashboard.frame.csp_reports import csp_report
from dashboard.frame.find import find
from dashboard.frame.patterns import patterns
from dashboard.health import views as health
from dashboard.home import home, home_waiting
from dashboard.live import views as live

urlpatterns = [
    path("", home, name="home"),
    # URLs are tried in this order: webhooks and messages are requested most often.
    path("", include("approvals.urls")),
    path("find/", find, name="find"),
    path("patterns/", patterns, name="patterns"),
    path("waiting/", home_waiting, name="home-waiting"),
    path("setup/", first_run.setup, name="setup"),
    path("setup/away/", first_run.put_away, name="setup-away"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("live/", live.live, name="live"),
    path("live/reach/", live.live_reach, name="live-reach"),
    path("service-worker.js", service_worker, name="service-worker"),
    path("manifest.webmanifest", manifest, name="manifest"),
    path("csp-report/", csp_report, name="csp-report"),
    path("", include("people.urls")),
    path("", include("policy.urls")),
    path("", include("connections.urls")),
    path("", include("audit.urls")),
    path("", include("notices.urls")),
    path("", include("alerts.urls")),
]

handler400 = "dashboard.frame.errors.bad_request"
handler403 = "dashboard.frame.errors.forbidden"
handler404 = "dashboard.frame.errors.not_found"
# Django has no handler429: django-allauth looks for it by this name.
handler429 = "dashboard.frame.errors.too_many_tries"
handler500 = "dashboard.frame.errors.server_error"
