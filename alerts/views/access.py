"""Lets admins of everything alone through to what says where alerts go."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import render

from alerts.destinations.commands import check_may_manage
from alerts.errors import DestinationNotAllowed
from common.pages import DeskRequest


def managing(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let a view run only for those who may say where alerts go."""

    @wraps(view)
    def asked(request: DeskRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            check_may_manage(request.actor)
        except DestinationNotAllowed as error:
            return render(request, "alerts/refused.html", {"problem": error.sentence}, status=403)
        return view(request, *args, **kwargs)

    return asked
