"""The URLs of the gateway. No path ends in a slash, and none redirects."""

from functools import partial

from django.urls import path
from ninja.openapi.views import openapi_json

from gateway.api import dialects
from gateway.api.site import api

urlpatterns = [
    path("v1/openapi.json", partial(openapi_json, api=api)),
    *dialects.urlpatterns,
    path("", api.urls),
]

# By name: Django's own would render the desk's pages.
handler400 = handler403 = "gateway.middleware.bad_request"
handler404 = "gateway.middleware.not_found"
handler500 = "gateway.middleware.broken"
