"""The notices about changes that wait for a second admin."""

from typing import Any

from django.template import Context, Library

from people.models import PendingChange

register = Library()


@register.inclusion_tag("people/_waiting_changes.html", takes_context=True)
def waiting_changes(
    context: Context, page: str, *args: object, for_all: bool = False
) -> dict[str, Any]:
    """Show the waiting changes of what is set on the page at this URL, to those who may
    see them; with `for_all` to everybody who sees the page.
    """
    changes = PendingChange.objects.at(page, *args)
    if not for_all:
        changes = changes.visible_to(context["request"].actor)
    return {"waiting_changes": changes}
