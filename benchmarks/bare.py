"""The plain Django view with which benchmarks compare: it reads one row and renders one
template.

It runs in the same server and with the same connection to PostgreSQL as the product's
pages, but without its middleware.
"""

from importlib import import_module

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

import dashboard.wsgi as _set_up  # noqa: F401 - sets Django up as the product does
from dashboard.serving.bridge import WsgiBridge

_PAGE = engines["django"].from_string("""<!doctype html>
<html lang="en">
  <head><title>{{ person.name }}</title></head>
  <body>
    <h1>{{ person.name }}</h1>
    <p>{{ person.email }}{% if person.is_active %}, since {{ person.joined_at|date:"j F Y" }}{% endif %}</p>
  </body>
</html>
""")


def person_page(request: HttpRequest) -> HttpResponse:
    """Show the person with the first account."""
    from people.models import Person

    return HttpResponse(
        _PAGE.render({"person": Person.objects.order_by("pk").first()}, request)
    )


urlpatterns = [path("", person_page)]

# Importing `dashboard.wsgi` set up the product with its middleware, without which its
# apps do not start. A handler that is made after this has none.
settings.ROOT_URLCONF = __name__
settings.MIDDLEWARE = []
application = WsgiBridge(WSGIHandler(), import_module(settings.REQUEST_RULES))
