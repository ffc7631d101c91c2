"""The control of `pages` and `approval`: a plain Django view that reads one row and
renders one template.

Served by the same server, and with the same connection to PostgreSQL, as the product's
pages; without its middleware.
"""

from importlib import import_module

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

import dashboard.wsgi as _set_up  # noqa: F401 - Django, as the product has it
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
    """Show who has the first account."""
    from people.models import Person

    return HttpResponse(
        _PAGE.render({"person": Person.objects.order_by("pk").first()}, request)
    )


urlpatterns = [path("", person_page)]

# The product's middleware is there already, as its apps insist on it; a handler that is
# made now has none.
settings.ROOT_URLCONF = __name__
settings.MIDDLEWARE = []
application = WsgiBridge(WSGIHandler(), import_module(settings.REQUEST_RULES))
