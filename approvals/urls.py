"""Addresses of the review desk."""

from django.urls import path

from approvals import polling
from approvals.bulk import views as bulk
from approvals.intake import webhooks
from approvals.message_page import (
    allow_views,
    attachments,
    claim_views,
    comment_views,
    frame,
    high_risk_views,
    past_verdict,
    thread,
    unconfirmed_views,
    verdict_views,
)
from approvals.message_page import views as message
from approvals.operations import views as attention
from approvals.queue import history, saved_view_pages
from approvals.queue import views as listing
from approvals.reports import views as report_decisions
from approvals.risk_rules import views as rules

urlpatterns = [
    path("queue/", listing.queue, name="queue"),
    path("queue/pulse/", polling.pulse, name="pulse"),
    path("queue/views/", saved_view_pages.save, name="save-view"),
    path("queue/views/<int:view_id>/delete/", saved_view_pages.delete, name="delete-view"),
    path("queue/bulk/", bulk.sheet, name="bulk"),
    path("queue/bulk/decide/", bulk.decide, name="bulk-decide"),
    path("queue/bulk/done/", bulk.done, name="bulk-done"),
    path("queue/bulk/undo/", bulk.undo, name="bulk-undo"),
    path("queue/<uuid:public_id>/", message.message_page, name="message"),
    path("queue/<uuid:public_id>/body/", frame.body, name="message-body"),
    path("queue/<uuid:public_id>/letter/", frame.letter, name="message-letter"),
    path("queue/<uuid:public_id>/text-first/", frame.text_first, name="text-first"),
    path("queue/<uuid:public_id>/opened/", message.opened, name="message-opened"),
    path("queue/<uuid:public_id>/verdict/", verdict_views.verdict, name="verdict"),
    path("queue/<uuid:public_id>/files/", attachments.files, name="message-files"),
    path("queue/<uuid:public_id>/files/<int:place>/", attachments.file_view, name="file-view"),
    path("queue/<uuid:public_id>/files/<int:place>/download/", attachments.file_download, name="file-download"),
    path("queue/<uuid:public_id>/unread/", attachments.unread, name="unread-parts"),
    path("queue/<uuid:public_id>/part/", attachments.part_opened, name="part-opened"),
    path("queue/<uuid:public_id>/thread/", thread.thread, name="message-thread"),
    path("queue/<uuid:public_id>/undo/", verdict_views.undo, name="undo"),
    path("queue/<uuid:public_id>/decided/", verdict_views.decided, name="decided"),
    path("queue/<uuid:public_id>/allow/", allow_views.allow_address, name="allow-address"),
    path("queue/<uuid:public_id>/approve/", high_risk_views.approve, name="approve"),
    path("queue/<uuid:public_id>/withdraw/", unconfirmed_views.withdraw, name="withdraw"),
    path("queue/<uuid:public_id>/send-again/", unconfirmed_views.send_again, name="send-again"),
    path("queue/<uuid:public_id>/settle/", unconfirmed_views.settle, name="settle"),
    path("queue/<uuid:public_id>/look/", unconfirmed_views.look, name="look"),
    path("queue/<uuid:public_id>/claim/", claim_views.claim, name="claim"),
    path("queue/<uuid:public_id>/claim/release/", claim_views.release_claim, name="release-claim"),
    path("queue/<uuid:public_id>/snooze/", claim_views.snooze, name="snooze"),
    path("queue/<uuid:public_id>/snooze/end/", claim_views.end_snooze, name="end-snooze"),
    path("queue/<uuid:public_id>/presence/", claim_views.report_presence, name="presence"),
    path("queue/<uuid:public_id>/beside/", claim_views.beside, name="beside"),
    path("queue/<uuid:public_id>/decisions/<int:verdict_id>/", past_verdict.seen_decision, name="seen-decision"),
    path("queue/<uuid:public_id>/decisions/<int:verdict_id>/body/", past_verdict.seen_body, name="seen-body"),
    path("queue/<uuid:public_id>/comments/", comment_views.comment, name="comment"),
    path("approvals/<path:upstream_id>/", message.by_upstream_id, name="by-upstream-id"),
    path("history/", history.history, name="history"),
    path("attention/", attention.attention, name="attention"),
    path("attention/carry-out/", attention.carry_out, name="carry-out"),
    path("attention/groups/<slug:key>/", attention.settle_group, name="settle-group"),
    path("attention/<uuid:public_id>/look/", attention.look, name="look-again"),
    path("attention/webhooks/<int:event_id>/replay/", attention.replay, name="replay-event"),
    path("attention/webhooks/<int:event_id>/compare/", attention.compare, name="compare-event"),
    path("attention/webhooks/<int:event_id>/dismiss/", attention.dismiss, name="dismiss-event"),
    path("rules/findings/", rules.findings, name="rules-findings"),
    path("rules/findings/<slug:rule>/", rules.rule, name="rule"),
    path("rules/findings/<slug:rule>/weigh/", rules.weigh_rule, name="weigh-rule"),
    path("audit/reports/decisions/", report_decisions.decisions, name="report-decisions"),
    path("audit/reports/decisions/rows/", report_decisions.rows, name="report-decision-rows"),
    path("audit/reports/decisions/file/", report_decisions.file, name="report-decisions-file"),
    path("webhooks/multimail/<str:webhook_id>/", webhooks.multimail_webhook, name="multimail-webhook"),
]
