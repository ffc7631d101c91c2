"""The URL patterns of the review desk: queue, message page, webhooks, items that need
attention, rules, policy and reports.
"""

from django.urls import path

from approvals import findings_page, polling, reports, usual_texts
from approvals.brake import views as brake
from approvals.bulk import act_views as bulk_acts
from approvals.bulk import views as bulk
from approvals.escalation import views as escalation
from approvals.intake import webhooks
from approvals.message_page import action_views, content_views
from approvals.message_page import views as message
from approvals.operations import views as attention
from approvals.policy_rules import views as policy
from approvals.policy_rules.views import PassForm, RuleForm
from approvals.queue import views as listing

_RULE = {"form_class": RuleForm}
_PASS = {"form_class": PassForm}

urlpatterns = [
    path(
        "webhooks/multimail/<str:webhook_id>/",
        webhooks.multimail_webhook,
        name="multimail-webhook",
    ),
    path("queue/", listing.queue, name="queue"),
    path("queue/pulse/", polling.pulse, name="pulse"),
    path("queue/rows/", listing.rows, name="rows"),
    path("queue/views/", listing.save_view, name="save-view"),
    path("queue/views/<int:view_id>/delete/", listing.delete_view, name="delete-view"),
    path("queue/apart/", brake.brakes, name="brakes"),
    path("queue/apart/<int:brake_id>/", brake.brake, name="brake"),
    path("queue/apart/<int:brake_id>/put-back/", brake.put_back, name="put-back"),
    path("caps/", brake.caps, name="caps"),
    path("caps/save/", brake.set_caps, name="set-caps"),
    path("queue/bulk/", bulk.sheet, name="bulk"),
    path("queue/bulk/seen/", bulk.seen, name="bulk-seen"),
    path("queue/bulk/decide/", bulk.decide, name="bulk-decide"),
    path("queue/bulk/done/", bulk.done, name="bulk-done"),
    path("queue/bulk/undo/", bulk.undo, name="bulk-undo"),
    path("queue/bulk/matching/", bulk_acts.matching, name="bulk-matching"),
    path("queue/bulk/matching/begin/", bulk_acts.begin, name="begin-bulk-act"),
    path("queue/bulk/acts/<int:act_id>/", bulk_acts.act, name="bulk-act"),
    path("queue/bulk/acts/<int:act_id>/stop/", bulk_acts.stop, name="stop-bulk-act"),
    path("queue/<uuid:public_id>/", message.message_page, name="message"),
    path("queue/<uuid:public_id>/body/", content_views.body, name="message-body"),
    path(
        "queue/<uuid:public_id>/original/",
        content_views.original,
        name="message-original",
    ),
    path(
        "queue/<uuid:public_id>/view/", content_views.message_sheet, name="message-view"
    ),
    path("queue/<uuid:public_id>/opened/", message.opened, name="message-opened"),
    path("queue/<uuid:public_id>/verdict/", message.verdict, name="verdict"),
    path("queue/<uuid:public_id>/files/", content_views.files, name="message-files"),
    path(
        "queue/<uuid:public_id>/files/<int:place>/",
        content_views.file_view,
        name="file-view",
    ),
    path(
        "queue/<uuid:public_id>/files/<int:place>/pages/",
        content_views.file_pages,
        name="file-pages",
    ),
    path(
        "queue/<uuid:public_id>/files/<int:place>/pages/<int:page>/",
        content_views.file_page,
        name="file-page",
    ),
    path(
        "queue/<uuid:public_id>/files/<int:place>/download/",
        content_views.file_download,
        name="file-download",
    ),
    path(
        "queue/<uuid:public_id>/pictures/",
        content_views.pictures,
        name="message-pictures",
    ),
    path(
        "queue/<uuid:public_id>/pictures/load/",
        content_views.load_pictures,
        name="load-pictures",
    ),
    path(
        "queue/<uuid:public_id>/pictures/<int:place>/",
        content_views.picture_view,
        name="picture-view",
    ),
    path("queue/<uuid:public_id>/unread/", content_views.unread, name="unread-parts"),
    path("queue/<uuid:public_id>/part/", content_views.part_opened, name="part-opened"),
    path("queue/<uuid:public_id>/viewed/", content_views.viewed, name="viewed"),
    path("queue/<uuid:public_id>/thread/", content_views.thread, name="message-thread"),
    path("queue/undo/", message.undo_newest, name="undo-newest"),
    path("queue/<uuid:public_id>/undo/", message.undo, name="undo"),
    path("queue/<uuid:public_id>/take-back/", message.take_back, name="take-back"),
    path("queue/<uuid:public_id>/decided/", message.decided, name="decided"),
    path("queue/<uuid:public_id>/approve/", message.approve, name="approve"),
    path("queue/<uuid:public_id>/edit/", action_views.edit, name="edit-message"),
    path(
        "queue/<uuid:public_id>/edit/preview/",
        action_views.preview,
        name="edit-preview",
    ),
    path(
        "queue/<uuid:public_id>/edit/finish/", action_views.finish, name="finish-edit"
    ),
    path("queue/<uuid:public_id>/withdraw/", message.withdraw, name="withdraw"),
    path(
        "queue/<uuid:public_id>/send-again/",
        message.send_again,
        name="send-again",
    ),
    path("queue/<uuid:public_id>/settle/", message.settle, name="settle"),
    path("queue/<uuid:public_id>/look/", message.look, name="look"),
    path("queue/<uuid:public_id>/claim/", action_views.claim, name="claim"),
    path(
        "queue/<uuid:public_id>/claim/release/",
        action_views.end_claim,
        name="release-claim",
    ),
    path("queue/<uuid:public_id>/handling/", escalation.handling, name="handling"),
    path("queue/<uuid:public_id>/assign/", escalation.assign, name="assign"),
    path("queue/<uuid:public_id>/extend/", escalation.extend, name="extend"),
    path("queue/<uuid:public_id>/snooze/", action_views.snooze, name="snooze"),
    path(
        "queue/<uuid:public_id>/snooze/end/",
        action_views.end_snooze,
        name="end-snooze",
    ),
    path("queue/<uuid:public_id>/beside/", action_views.side_panel, name="beside"),
    path(
        "queue/<uuid:public_id>/decisions/<int:verdict_id>/",
        content_views.seen_decision,
        name="seen-decision",
    ),
    path(
        "queue/<uuid:public_id>/decisions/<int:verdict_id>/body/",
        content_views.seen_body,
        name="seen-body",
    ),
    path("queue/<uuid:public_id>/comments/", action_views.comment, name="comment"),
    path(
        "queue/<uuid:public_id>/people/",
        action_views.people,
        name="message-people",
    ),
    path(
        "approvals/<path:upstream_id>/", message.by_upstream_id, name="by-upstream-id"
    ),
    path("history/", listing.history, name="history"),
    path("attention/", attention.attention, name="attention"),
    path("attention/groups/<slug:key>/", attention.settle_group, name="settle-group"),
    path("attention/<uuid:public_id>/look/", attention.look, name="look-again"),
    path(
        "attention/webhooks/<int:event_id>/replay/",
        attention.replay,
        name="replay-event",
    ),
    path(
        "attention/webhooks/<int:event_id>/compare/",
        attention.compare,
        name="compare-event",
    ),
    path(
        "attention/webhooks/<int:event_id>/dismiss/",
        attention.dismiss,
        name="dismiss-event",
    ),
    path("rules/findings/", findings_page.findings, name="rules-findings"),
    path(
        "mailboxes/<int:mailbox_id>/texts/<slug:text_kind>/",
        usual_texts.usual_texts,
        name="usual-texts",
    ),
    path(
        "mailboxes/<int:mailbox_id>/texts/<slug:text_kind>/save/",
        usual_texts.save_usual_texts,
        name="save-usual-texts",
    ),
    path("audit/reports/decisions/", reports.decisions, name="report-decisions"),
    path(
        "audit/reports/decisions/people/",
        reports.set_people,
        name="set-person-figures",
    ),
    path("policy/", policy.policy, name="policy"),
    path("policy/draft/begin/", policy.begin, name="begin-draft"),
    path("policy/draft/discard/", policy.discard, name="discard-draft"),
    path("policy/draft/activate/", policy.activate, name="activate-draft"),
    path("policy/draft/rules/add/", policy.edit, _RULE, name="add-policy-rule"),
    path(
        "policy/draft/rules/<slug:policy_part>/", policy.edit, _RULE, name="policy-rule"
    ),
    path("policy/draft/passes/add/", policy.edit, _PASS, name="add-policy-pass"),
    path(
        "policy/draft/passes/<slug:policy_part>/",
        policy.edit,
        _PASS,
        name="policy-pass",
    ),
    path(
        "policy/draft/delete/<slug:policy_part>/",
        policy.delete,
        name="delete-policy-part",
    ),
    path("policy/versions/<int:policy_number>/", policy.version, name="policy-version"),
    path("policy/try/", policy.try_policy, name="try-policy"),
]
