"""Addresses of the desk."""

from django.urls import path

from approvals import webhooks
from approvals.views import attention, connections, doubt, kill_switch, listing, message, verdict

urlpatterns = [
    path("queue/", listing.queue, name="queue"),
    path("queue/pulse/", listing.pulse, name="pulse"),
    path("queue/<uuid:public_id>/", message.message_page, name="message"),
    path("queue/<uuid:public_id>/body/", message.body, name="message-body"),
    path("queue/<uuid:public_id>/opened/", message.opened, name="message-opened"),
    path("queue/<uuid:public_id>/verdict/", verdict.verdict, name="verdict"),
    path("queue/<uuid:public_id>/undo/", verdict.undo, name="undo"),
    path("queue/<uuid:public_id>/withdraw/", doubt.withdraw, name="withdraw"),
    path("queue/<uuid:public_id>/send-again/", doubt.send_again, name="send-again"),
    path("queue/<uuid:public_id>/settle/", doubt.settle, name="settle"),
    path("queue/<uuid:public_id>/look/", doubt.look, name="look"),
    path("approvals/<path:upstream_id>/", message.by_upstream_id, name="by-upstream-id"),
    path("history/", listing.history, name="history"),
    path("connections/", connections.connections, name="connections"),
    path("connections/<int:connection_id>/read/", connections.read_now, name="read-connection"),
    path("attention/", attention.attention, name="attention"),
    path("attention/carry-out/", attention.carry_out, name="carry-out"),
    path("attention/<uuid:public_id>/look/", attention.look, name="look-again"),
    path("attention/webhooks/<int:event_id>/replay/", attention.replay, name="replay-event"),
    path("attention/webhooks/<int:event_id>/compare/", attention.compare, name="compare-event"),
    path("attention/webhooks/<int:event_id>/dismiss/", attention.dismiss, name="dismiss-event"),
    path("stop/", kill_switch.stop, name="stop"),
    path("stop/banner/", kill_switch.banner, name="stop-banner"),
    path("stop/pull/", kill_switch.pull_switch, name="pull-switch"),
    path("stop/<int:switch_id>/release/", kill_switch.release_switch, name="release-switch"),
    path("stop/gateway/<int:connection_id>/", kill_switch.hold_all, name="hold-all"),
    path("webhooks/multimail/<str:webhook_id>/", webhooks.multimail_webhook, name="multimail-webhook"),
]
