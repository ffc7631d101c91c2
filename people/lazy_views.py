"""Views that are imported only at their first request, because the libraries for
passkeys and QR codes need 7 MB of memory.

Every process that reverses a URL loads the URL configuration, and most of these
processes never serve such a view.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

View = Callable[..., HttpResponseBase]


def lazy_view(path: str) -> View:
    """Return a view that imports and calls the view at `path`, a function or a class."""

    @cache
    def loaded() -> View:
        imported: Any = import_string(path)
        view: View = imported.as_view() if hasattr(imported, "as_view") else imported
        return view

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return loaded()(request, *args, **kwargs)

    return view
