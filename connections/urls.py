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
    path("connections/", connections.ConnectionList.as_view(), name="connections"),
    path(
        "connections/<int:connection_id>/read/",
        connections.ReadNow.as_view(),
        name="read-connection",
    ),
    path(
        "connections/add/", connections.AddConnection.as_view(), name="add-connection"
    ),
    path(
        "connections/<int:connection_id>/",
        connections.ConnectionPage.as_view(),
        name="connection",
    ),
    path(
        "connections/<int:connection_id>/name/",
        connections.RenameConnection.as_view(),
        name="rename-connection",
    ),
    path(
        "connections/<int:connection_id>/address/",
        connections.ChangeAddress.as_view(),
        name="connection-address",
    ),
    path(
        "connections/<int:connection_id>/pause/",
        connections.PauseConnection.as_view(),
        name="pause-connection",
    ),
    path(
        "connections/<int:connection_id>/resume/",
        connections.ResumeConnection.as_view(),
        name="resume-connection",
    ),
    path(
        "connections/<int:connection_id>/remove/",
        connections.RemoveConnection.as_view(),
        name="remove-connection",
    ),
    path(
        "connections/<int:connection_id>/keys/<slug:slot>/",
        connections.SetKey.as_view(),
        name="connection-key",
    ),
    path(
        "connections/<int:connection_id>/webhook/register/",
        connections.RegisterOwnWebhook.as_view(),
        name="register-own-webhook",
    ),
    path(
        "connections/<int:connection_id>/webhook/rotate/",
        connections.RotateOwnWebhook.as_view(),
        name="rotate-own-webhook",
    ),
    path(
        "connections/<int:connection_id>/webhook/secret/",
        connections.TakeSecret.as_view(),
        name="take-secret",
    ),
    path(
        "connections/<int:connection_id>/webhook/end-old/",
        connections.EndOldSecret.as_view(),
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
    path("mailboxes/", mailboxes.MailboxList.as_view(), name="mailboxes"),
    path("mailboxes/add/", mailboxes.AddMailbox.as_view(), name="add-mailbox"),
    path(
        "mailboxes/<int:mailbox_id>/", mailboxes.MailboxPage.as_view(), name="mailbox"
    ),
    path(
        "mailboxes/<int:mailbox_id>/windows/",
        mailboxes.SetWindows.as_view(),
        name="mailbox-windows",
    ),
    path(
        "mailboxes/<int:mailbox_id>/settings/",
        mailboxes.ChangeSettings.as_view(),
        name="mailbox-settings",
    ),
    path(
        "mailboxes/<int:mailbox_id>/mode/",
        mailboxes.ChangeMode.as_view(),
        name="mailbox-mode",
    ),
    path(
        "mailboxes/<int:mailbox_id>/loosen/",
        mailboxes.LoosenMailbox.as_view(),
        name="loosen-mailbox",
    ),
    path(
        "mailboxes/<int:mailbox_id>/delete/",
        mailboxes.DeleteMailbox.as_view(),
        name="delete-mailbox",
    ),
    path("keys/", api_keys.KeyList.as_view(), name="api-keys"),
    path(
        "keys/<int:connection_id>/add/", api_keys.AddKey.as_view(), name="add-api-key"
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/",
        api_keys.KeyPage.as_view(),
        name="api-key",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/change/",
        api_keys.ChangeKey.as_view(),
        name="change-api-key",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/owner/",
        api_keys.SetKeyOwner.as_view(),
        name="api-key-owner",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/pause/",
        api_keys.PauseKey.as_view(),
        name="pause-api-key",
    ),
    path(
        "queue/apart/<int:brake_id>/pause-key/",
        api_keys.PauseKeyOfFlood.as_view(),
        name="pause-key-of-flood",
    ),
    path(
        "keys/<int:connection_id>/<str:key_id>/revoke/",
        api_keys.RevokeKey.as_view(),
        name="revoke-api-key",
    ),
    path("domains/", domains.DomainList.as_view(), name="domains"),
    path(
        "domains/<int:connection_id>/add/",
        domains.AddDomain.as_view(),
        name="add-domain",
    ),
    path(
        "domains/<int:connection_id>/<str:domain_id>/verify/",
        domains.VerifyDomain.as_view(),
        name="verify-domain",
    ),
    path(
        "domains/<int:connection_id>/<str:domain_id>/rotate/",
        domains.RotateDkim.as_view(),
        name="rotate-domain",
    ),
    path(
        "domains/<int:connection_id>/<str:domain_id>/delete/",
        domains.DeleteDomain.as_view(),
        name="delete-domain",
    ),
    path("webhooks/", webhooks.WebhookList.as_view(), name="webhooks"),
    path(
        "webhooks/<int:connection_id>/add/",
        webhooks.AddWebhook.as_view(),
        name="add-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/",
        webhooks.WebhookPage.as_view(),
        name="webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/test/",
        webhooks.TestWebhook.as_view(),
        name="test-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/rotate/",
        webhooks.RotateWebhook.as_view(),
        name="rotate-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/delete/",
        webhooks.DeleteWebhook.as_view(),
        name="delete-webhook",
    ),
    path(
        "webhooks/<int:connection_id>/<str:subscription_id>/sent/<str:delivery_id>/replay/",
        webhooks.ReplayDelivery.as_view(),
        name="replay-delivery",
    ),
]
