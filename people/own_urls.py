"""Addresses of what a person looks after for themselves."""

from django.urls import path

from people.accounts import views as own_account
from people.lazy_views import later
from people.views import own_sessions
from people.views.discord import link_discord, own_discord, unlink_discord
from people.views.own_keys import own_keys

_FACTORS = "people.accounts.factor_views"

urlpatterns = [
    path("", own_account.account, name="account"),
    path("name/", own_account.own_name, name="own-name"),
    path("time-zone/", own_account.own_time_zone, name="own-time-zone"),
    path("password/", own_account.own_password, name="own-password"),
    path("sessions/", own_sessions.sessions, name="sessions"),
    path("sessions/<int:session_id>/end/", own_sessions.end_session, name="end-session"),
    path("sessions/end-others/", own_sessions.end_others, name="end-other-sessions"),
    path("keys/", own_keys, name="keys"),
    path("discord/", own_discord, name="own-discord"),
    path("discord/unlink/", unlink_discord, name="unlink-discord"),
    path("discord/<slug:token>/", link_discord, name="link-discord"),
    path("factors/", later(f"{_FACTORS}.factors"), name="factors"),
    path("factors/app/", later(f"{_FACTORS}.app"), name="factor-app"),
    path("factors/passkey/", later(f"{_FACTORS}.passkey"), name="factor-passkey"),
    path("factors/<int:factor_id>/name/", later(f"{_FACTORS}.name_factor"), name="factor-name"),
    path("factors/<int:factor_id>/remove/", later(f"{_FACTORS}.remove"), name="factor-remove"),
    path("factors/codes/", later(f"{_FACTORS}.make_codes"), name="recovery-codes"),
]
