"""The URLs of the gateway. No path ends in a slash, and no path redirects."""

from functools import partial

from django.urls import path
from ninja.openapi.views import openapi_json

from gateway.api import other_paths
from gateway.api.site import api
from gateway.middleware import failed

urlpatterns = [
    path("v1/openapi.json", partial(openapi_json, api=api)),
    *other_paths.urlpatterns,
    path("", api.urls),
]

# Django's own handlers would render the desk's HTML pages.
handler400 = handler403 = partial(failed, status=400)
handler404 = partial(failed, status=404)
handler500 = partial(failed, status=500)
