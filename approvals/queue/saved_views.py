"""Views of the queue saved under a name, for one person or for everybody."""

from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_POST

from approvals.models import SavedView
from approvals.queue.filters import read_filters
from approvals.queue.views import mailboxes_of
from audit.search import saved
from common.pages import DeskRequest


@require_POST
def save(request: DeskRequest) -> HttpResponse:
    """Save the queue's current filters, and go back to it."""
    asked = QueryDict(request.POST.get("query", "")[:4000])
    filters = read_filters(asked, mailboxes=mailboxes_of(request))
    query = filters.query(after=None)
    view = SavedView(person_id=int(request.actor.id), query=query)
    return saved.save(request, view)


@require_POST
def delete(request: DeskRequest, view_id: int) -> HttpResponse:
    """Delete a view of one's own; somebody else's is not there to be deleted."""
    return saved.delete(request, SavedView, view_id)
