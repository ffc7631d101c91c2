"""Limits the alert settings to admins of everything, and finds their destinations."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import Http404, HttpResponseBase
from django.shortcuts import render

from alerts.destinations.commands import check_may_manage
from alerts.errors import DestinationMissing, DestinationNotAllowed
from alerts.models import Destination
from common.pages import DeskRequest


def managing(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Run a view only for users who may manage destinations; a removed destination is a
    404.
    """

    @wraps(view)
    def asked(request: DeskRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            check_may_manage(request.actor)
            return view(request, *args, **kwargs)
        except DestinationNotAllowed as error:
            return render(
                request, "alerts/refused.html", {"error": error.sentence}, status=403
            )
        except DestinationMissing as error:
            raise Http404(error.sentence) from error

    return asked


def find_destination(destination_id: int) -> Destination:
    """Return a destination with its routes; one that was removed is a 404."""
    destination = Destination.objects.for_list().filter(pk=destination_id).first()
    if destination is None:
        raise Http404("There is no such destination. Somebody may have removed it.")
    return destination
