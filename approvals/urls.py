"""Addresses of the desk."""

from django.urls import path

from approvals import webhooks
from approvals.views import connections, listing, message, verdict

urlpatterns = [
    path("queue/", listing.queue, name="queue"),
    path("queue/pulse/", listing.pulse, name="pulse"),
    path("queue/<uuid:public_id>/", message.message_page, name="message"),
    path("queue/<uuid:public_id>/body/", message.body, name="message-body"),
    path("queue/<uuid:public_id>/opened/", message.opened, name="message-opened"),
    path("queue/<uuid:public_id>/verdict/", verdict.verdict, name="verdict"),
    path("queue/<uuid:public_id>/undo/", verdict.undo, name="undo"),
    path("approvals/<path:upstream_id>/", message.by_upstream_id, name="by-upstream-id"),
    path("history/", listing.history, name="history"),
    path("connections/", connections.connections, name="connections"),
    path("webhooks/multimail/<str:webhook_id>/", webhooks.multimail_webhook, name="multimail-webhook"),
]
