"""Addresses of the pages about accounts at MultiMail: connections, mailboxes, domains, API keys, webhooks."""

from django.urls import path

from connections.accounts import adding_views, connection_views, key_slot_views, own_webhook_views
from connections.accounts import views as connections
from connections.domains import views as domains
from connections.keys import key_views
from connections.keys import views as api_keys
from connections.kill_switch import views as kill_switch
from connections.mailboxes import loosening_views, mailbox_views
from connections.mailboxes import views as mailboxes
from connections.webhooks import views as hooks
from connections.webhooks import webhook_views

urlpatterns = [
    path("connections/", connections.connections, name="connections"),
    path("connections/<int:connection_id>/read/", connections.read_now, name="read-connection"),
    path("connections/add/", adding_views.add, name="add-connection"),
    path("connections/<int:connection_id>/", connection_views.connection, name="connection"),
    path("connections/<int:connection_id>/name/", connection_views.rename_connection, name="rename-connection"),
    path("connections/<int:connection_id>/address/", connection_views.change_address, name="connection-address"),
    path("connections/<int:connection_id>/pause/", connection_views.pause, name="pause-connection"),
    path("connections/<int:connection_id>/resume/", connection_views.resume, name="resume-connection"),
    path("connections/<int:connection_id>/remove/", connection_views.remove, name="remove-connection"),
    path("connections/<int:connection_id>/check/", key_slot_views.check, name="check-connection"),
    path("connections/<int:connection_id>/keys/<slug:slot>/", key_slot_views.set_key, name="connection-key"),
    path("connections/<int:connection_id>/webhook/register/", own_webhook_views.register, name="register-own-hook"),
    path("connections/<int:connection_id>/webhook/test/", own_webhook_views.test, name="test-own-hook"),
    path("connections/<int:connection_id>/webhook/rotate/", own_webhook_views.rotate, name="rotate-own-hook"),
    path("connections/<int:connection_id>/webhook/secret/", own_webhook_views.take_secret, name="take-secret"),
    path("connections/<int:connection_id>/webhook/end-old/", own_webhook_views.end_old_secret, name="end-old-secret"),
    path("stop/", kill_switch.stop, name="stop"),
    path("stop/banner/", kill_switch.banner, name="stop-banner"),
    path("stop/pull/", kill_switch.pull_switch, name="pull-switch"),
    path("stop/<int:switch_id>/release/", kill_switch.release_switch, name="release-switch"),
    path("stop/gateway/<int:connection_id>/", kill_switch.hold_all, name="hold-all"),
    path("mailboxes/", mailboxes.mailboxes, name="mailboxes"),
    path("mailboxes/add/", mailboxes.add_mailbox, name="add-mailbox"),
    path("mailboxes/<int:mailbox_id>/", mailbox_views.mailbox, name="mailbox"),
    path("mailboxes/<int:mailbox_id>/windows/", mailbox_views.set_windows, name="mailbox-windows"),
    path("mailboxes/<int:mailbox_id>/settings/", mailbox_views.change_settings, name="mailbox-settings"),
    path("mailboxes/<int:mailbox_id>/mode/", mailbox_views.change_mode, name="mailbox-mode"),
    path("mailboxes/<int:mailbox_id>/loosen/", loosening_views.loosen_mailbox, name="loosen-mailbox"),
    path("mailboxes/<int:mailbox_id>/delete/", mailbox_views.delete, name="delete-mailbox"),
    path("keys/", api_keys.api_keys, name="api-keys"),
    path("keys/<int:connection_id>/add/", api_keys.add_key, name="add-api-key"),
    path("keys/<int:connection_id>/<str:key_id>/", key_views.api_key, name="api-key"),
    path("keys/<int:connection_id>/<str:key_id>/change/", key_views.change, name="change-api-key"),
    path("keys/<int:connection_id>/<str:key_id>/owner/", key_views.set_key_owner, name="api-key-owner"),
    path("keys/<int:connection_id>/<str:key_id>/revoke/", key_views.revoke, name="revoke-api-key"),
    path("domains/", domains.domains, name="domains"),
    path("domains/<int:connection_id>/add/", domains.add, name="add-domain"),
    path("domains/<int:connection_id>/<str:domain_id>/verify/", domains.verify, name="verify-domain"),
    path("domains/<int:connection_id>/<str:domain_id>/rotate/", domains.rotate, name="rotate-domain"),
    path("domains/<int:connection_id>/<str:domain_id>/delete/", domains.delete, name="delete-domain"),
    path("webhooks/", hooks.hooks, name="hooks"),
    path("webhooks/<int:connection_id>/add/", hooks.add_hook, name="add-hook"),
    path("webhooks/<int:connection_id>/bodies/", hooks.hook_bodies, name="hook-bodies"),
    path("webhooks/<int:connection_id>/<str:hook_id>/", webhook_views.hook, name="hook"),
    path("webhooks/<int:connection_id>/<str:hook_id>/test/", webhook_views.test, name="test-hook"),
    path("webhooks/<int:connection_id>/<str:hook_id>/rotate/", webhook_views.rotate, name="rotate-hook"),
    path("webhooks/<int:connection_id>/<str:hook_id>/delete/", webhook_views.delete, name="delete-hook"),
    path(
        "webhooks/<int:connection_id>/<str:hook_id>/sent/<str:delivery_id>/replay/",
        webhook_views.replay_delivery,
        name="replay-delivery",
    ),
]
