"""Views that are imported at their first request: the passkey and QR code libraries
need 7 MB.

Every process that reverses a URL loads the URL configuration, and most never serve one
of these views.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

View = Callable[..., HttpResponseBase]


def lazy_view(path: str, *, is_public: bool = False) -> View:
    """Return a view that imports and calls the view at `path`, a function or a class.

    `is_public`: also for those who are not signed in.
    """

    @cache
    def loaded() -> View:
        found: Any = import_string(path)
        view: View = found.as_view() if hasattr(found, "as_view") else found
        return view

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return loaded()(request, *args, **kwargs)

    return login_not_required(view) if is_public else view
