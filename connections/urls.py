"""Addresses of the pages about accounts at MultiMail: connections, mailboxes, domains,
API keys, webhooks.
"""

from django.urls import path

from connections import domains, kill_switch
from connections.accounts import views as connections
from connections.keys import views as api_keys
from connections.mailboxes import views as mailboxes
from connections.webhooks import views as webhooks

urlpatterns = [
    path("connections/", connections.connections, name="connections"),
    path(
        "connections/<int:connection_id>/read/",
        connections.read_now,
        name="read-connection",
    ),
    path("connections/add/", connections.add, name="add-connection"),
    path("connections/<int:connection_id>/", connections.connection, name="connection"),
    path(
        "connections/<int:connection_id>/name/",
        connections.rename_connection,
        name="rename-connection",
    ),
    path(
        "connections/<int:connection_id>/address/",
        connections.change_address,
        name="connection-address",
    ),
    path(
        "connections/<int:connection_id>/pause/",
        connections.pause,
        name="pause-connection",
    ),
    path(
        "connections/<int:connection_id>/resume/",
        connections.resume,
        name="resume-connection",
    ),
    path(
        "connections/<int:connection_id>/remove/",
        connections.remove,
        name="remove-connection",
    ),
    path(
        "connections/<int:connection_id>/keys/<slug:slot>/",
        connections.set_key,
        name="connection-key",
    ),
    path(
        "connections/<int:connection_id>/webhook/register/",
        connections.register,
        name="register-own-webhook",
    ),
    path(
        "connections/<int:connection_id>/webhook/rotate/",
        connections.rotate,
        name="rotate-own-webhook",
    ),
    path(
        "connections/<int:connection_id>/webhook/secret/",
        connections.take_secret,
        name="take-secret",
    ),
    path(
        "connections/<int:connection_id>/webhook/end-old/",
        connections.end_old_secret,
        name="end-old-secret",
    ),
    path("stop/", kill_switch.stop, name="stop"),
    path("stop/pull/", kill_switch.pull_switch, name="pull-switch"),
    path(
        "stop/<int:switch_id>/release/",
        kill_switch.release_switch,
        name="release-switch",
    ),
    path(
        "stop/gateway/<int:connection_id>/", kill_switch.set_hold_all, name="hold-all"
    ),
    path("mailboxes/", mailboxes.mailboxes, name="mailboxes"),
    path("mailboxes/add/", mailboxes.add_mailbox, name="add-mailbox"),
    path("mailboxes/<int:mailbox_id>/", mailboxes.mailbox, name="mailbox"),
    path(
        "mailboxes/<int:mailbox_id>/windows/",
        mailboxes.set_windows,
        name="mailbox-windows",
    ),
    path(
        "mailboxes/<int:mailbox_id>/settings/",
        mailboxes.change_settings,
        name="mailbox-settings",
    ),
    path(
        "mailboxes/<int:mailbox_id>/mode/", mailboxes.change_mode, name="mailbox-mode"
    ),
    path(
        "mailboxes/<int:mailbox_id>/loosen/",
        mailboxes.loosen_mailbox,
        name="loosen-mailbox",
    ),
    path("mailboxes/<int:mailbox_id>/delete/", mailboxes.delete, name="delete-mailbox"),
    path("keys/", api_keys.api_keys, name="api-keys"),
    path("keys/<int:connection_id>/add/", api_keys.add_key, name="add-api-key"),
    path("keys/<int:connection_id>/<str:key_id>/", api_keys.api_key, name="api-key"),
    path(
        "keys/<int:connection_id>/<str:key_id>/change/",
        api_keys.change,
        name="change-api-key",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/owner/",
        api_keys.set_key_owner,
        name="api-key-owner",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/pause/",
        api_keys.set_paused,
        name="pause-api-key",
    ),
    path(
        "queue/apart/<int:brake_id>/pause-key/",
        api_keys.pause_of_flood,
        name="pause-key-of-flood",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/revoke/",
        api_keys.revoke,
        name="revoke-api-key",
    ),
    path("domains/", domains.domains, name="domains"),
    path("domains/<int:connection_id>/add/", domains.add, name="add-domain"),
    path(
        "domains/<int:connection_id>/<str:domain_id>/verify/",
        domains.verify,
        name="verify-domain",
    ),
    path(
        "domains/<int:connection_id>/<str:domain_id>/rotate/",
        domains.rotate,
        name="rotate-domain",
    ),
    path(
        "domains/<int:connection_id>/<str:domain_id>/delete/",
        domains.delete,
        name="delete-domain",
    ),
    path("webhooks/", webhooks.webhooks, name="webhooks"),
    path("webhooks/<int:connection_id>/add/", webhooks.add_webhook, name="add-webhook"),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/",
        webhooks.webhook,
        name="webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/test/",
        webhooks.test,
        name="test-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/rotate/",
        webhooks.rotate,
        name="rotate-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/delete/",
        webhooks.delete,
        name="delete-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/sent/<str:delivery_id>/replay/",
        webhooks.replay_delivery,
        name="replay-delivery",
    ),
]
