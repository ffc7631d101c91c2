"""Views that are imported at their first request: what reads passkeys and draws QR codes needs 7 MB.

Every process that builds a URL loads all of them, and most never answer one of these.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

View = Callable[..., HttpResponseBase]


def lazy_view(path: str) -> View:
    """Return a view that imports the one at `path`, a function or a class, and answers with it."""

    @cache
    def loaded() -> View:
        found: Any = import_string(path)
        view: View = found.as_view() if hasattr(found, "as_view") else found
        return view

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return loaded()(request, *args, **kwargs)

    return view
