"""What happens if nobody acts: with a message, and by a review plan."""

from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from alerts.deliveries.forecast import Expected, forecast
from approvals.desk_messages import awaits_review
from approvals.message_page.views import get_visible_message_or_404
from approvals.models import Review
from common.pages import DeskRequest, page_or_fragment
from common.postgres import clock
from mirror.models import Mailbox, Message
from policy.models import ReviewPlan


@require_safe
def of_message(request: DeskRequest, public_id: UUID) -> HttpResponse:
    """Show what happens with a message if nobody acts."""
    message = get_visible_message_or_404(request, public_id)
    waits = awaits_review(message.pk)
    expected = forecast(message, clock()) if waits else []
    return _page(request, expected, message=message, waits=waits)


@require_safe
def of_plan(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Show what the plan of a mailbox, or for 0 the one for all, does with a message
    that is held now. Of all, it is one mailbox that has no plan of its own.
    """
    mailboxes = Mailbox.objects.at_work().active().visible_to(request.actor)
    if mailbox_id:
        mailboxes = mailboxes.filter(pk=mailbox_id)
    else:
        planned = ReviewPlan.objects.exclude(mailbox=None)
        mailboxes = mailboxes.exclude(pk__in=planned.values("mailbox"))
    mailbox = mailboxes.order_by("address").first()
    if mailbox is None:
        return _page(request, [])
    now = clock()
    sample = Message(mailbox=mailbox, connection=mailbox.connection, held_at=now)
    sample.review = Review()
    return _page(request, forecast(sample, now), mailbox=mailbox)


def _page(
    request: DeskRequest, expected: list[Expected], **context: object
) -> HttpResponse:
    return page_or_fragment(
        request,
        page="alerts/forecast.html",
        fragment="alerts/_forecast.html",
        context={"expected": expected, **context},
    )
