"""Addresses of the pages about accounts at MultiMail: connections, mailboxes, domains, API keys, webhooks."""

from django.urls import path

from connections.accounts import adding_views as connection_adding
from connections.accounts import connection_views as connection
from connections.accounts import key_slot_views as connection_keys
from connections.accounts import own_webhook_views as connection_hook
from connections.accounts import views as connections
from connections.domains import views as domains
from connections.keys import key_views as api_key
from connections.keys import views as api_keys
from connections.kill_switch import views as kill_switch
from connections.mailboxes import loosening_views as loosening
from connections.mailboxes import mailbox_views as mailbox
from connections.mailboxes import views as mailboxes
from connections.webhooks import views as hooks
from connections.webhooks import webhook_views as hook

urlpatterns = [
    path("connections/", connections.connections, name="connections"),
    path("connections/<int:connection_id>/read/", connections.read_now, name="read-connection"),
    path("connections/add/", connection_adding.add, name="add-connection"),
    path("connections/<int:connection_id>/", connection.connection, name="connection"),
    path("connections/<int:connection_id>/name/", connection.rename_connection, name="rename-connection"),
    path("connections/<int:connection_id>/address/", connection.change_address, name="connection-address"),
    path("connections/<int:connection_id>/pause/", connection.pause, name="pause-connection"),
    path("connections/<int:connection_id>/resume/", connection.resume, name="resume-connection"),
    path("connections/<int:connection_id>/remove/", connection.remove, name="remove-connection"),
    path("connections/<int:connection_id>/check/", connection_keys.check, name="check-connection"),
    path("connections/<int:connection_id>/keys/<slug:slot>/", connection_keys.set_key, name="connection-key"),
    path("connections/<int:connection_id>/webhook/register/", connection_hook.register, name="register-own-hook"),
    path("connections/<int:connection_id>/webhook/test/", connection_hook.test, name="test-own-hook"),
    path("connections/<int:connection_id>/webhook/rotate/", connection_hook.rotate, name="rotate-own-hook"),
    path("connections/<int:connection_id>/webhook/secret/", connection_hook.take_secret, name="take-secret"),
    path("connections/<int:connection_id>/webhook/end-old/", connection_hook.end_old_secret, name="end-old-secret"),
    path("stop/", kill_switch.stop, name="stop"),
    path("stop/banner/", kill_switch.banner, name="stop-banner"),
    path("stop/pull/", kill_switch.pull_switch, name="pull-switch"),
    path("stop/<int:switch_id>/release/", kill_switch.release_switch, name="release-switch"),
    path("stop/gateway/<int:connection_id>/", kill_switch.hold_all, name="hold-all"),
    path("mailboxes/", mailboxes.mailboxes, name="mailboxes"),
    path("mailboxes/add/", mailboxes.add_mailbox, name="add-mailbox"),
    path("mailboxes/<int:mailbox_id>/", mailbox.mailbox, name="mailbox"),
    path("mailboxes/<int:mailbox_id>/windows/", mailbox.set_windows, name="mailbox-windows"),
    path("mailboxes/<int:mailbox_id>/settings/", mailbox.change_settings, name="mailbox-settings"),
    path("mailboxes/<int:mailbox_id>/mode/", mailbox.change_mode, name="mailbox-mode"),
    path("mailboxes/<int:mailbox_id>/loosen/", loosening.loosen_mailbox, name="loosen-mailbox"),
    path("mailboxes/<int:mailbox_id>/delete/", mailbox.delete, name="delete-mailbox"),
    path("keys/", api_keys.api_keys, name="api-keys"),
    path("keys/<int:connection_id>/add/", api_keys.add_key, name="add-api-key"),
    path("keys/<int:connection_id>/<str:key_id>/", api_key.api_key, name="api-key"),
    path("keys/<int:connection_id>/<str:key_id>/change/", api_key.change, name="change-api-key"),
    path("keys/<int:connection_id>/<str:key_id>/owner/", api_key.set_key_owner, name="api-key-owner"),
    path("keys/<int:connection_id>/<str:key_id>/revoke/", api_key.revoke, name="revoke-api-key"),
    path("domains/", domains.domains, name="domains"),
    path("domains/<int:connection_id>/add/", domains.add, name="add-domain"),
    path("domains/<int:connection_id>/<str:domain_id>/verify/", domains.verify, name="verify-domain"),
    path("domains/<int:connection_id>/<str:domain_id>/rotate/", domains.rotate, name="rotate-domain"),
    path("domains/<int:connection_id>/<str:domain_id>/delete/", domains.delete, name="delete-domain"),
    path("webhooks/", hooks.hooks, name="hooks"),
    path("webhooks/<int:connection_id>/add/", hooks.add_hook, name="add-hook"),
    path("webhooks/<int:connection_id>/bodies/", hooks.hook_bodies, name="hook-bodies"),
    path("webhooks/<int:connection_id>/<str:hook_id>/", hook.hook, name="hook"),
    path("webhooks/<int:connection_id>/<str:hook_id>/test/", hook.test, name="test-hook"),
    path("webhooks/<int:connection_id>/<str:hook_id>/rotate/", hook.rotate, name="rotate-hook"),
    path("webhooks/<int:connection_id>/<str:hook_id>/delete/", hook.delete, name="delete-hook"),
    path(
        "webhooks/<int:connection_id>/<str:hook_id>/sent/<str:delivery_id>/replay/",
        hook.replay_delivery,
        name="replay-delivery",
    ),
]
