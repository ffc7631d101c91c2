"""Views that are imported when they are first asked for: what reads passkeys and draws codes takes 7 MB.

Whatever names an address loads all addresses, and most processes never answer one of these.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

View = Callable[..., HttpResponseBase]


def later(path: str) -> View:
    """Return a view that imports the one at `path`, a function or a class, and answers with it."""

    @cache
    def loaded() -> View:
        found: Any = import_string(path)
        view: View = found.as_view() if hasattr(found, "as_view") else found
        return view

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return loaded()(request, *args, **kwargs)

    return view
