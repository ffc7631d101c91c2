"""The URLs of the people app: signing in, one's own account, the directory, one-time
links, changes that wait for a second admin, and the reports and exports of the ledger.

Only those of django-allauth's pages that the desk uses are listed. Reports and exports
are here, not with the ledger: they need the signed-in person, and the ledger does not
import people.
"""

from django.contrib.auth.decorators import login_not_required
from django.urls import path

from people import exports, reports
from people.accounts import views as accounts
from people.directory import safeguard_views as safeguards
from people.directory import views as directory
from people.invitations import views as invitations
from people.lazy_views import lazy_view
from people.sign_in import reauthentication

urlpatterns = [
    path(
        "accounts/login/",
        login_not_required(lazy_view("people.sign_in.views.DeskLoginView")),
        name="account_login",
    ),
    path(
        "accounts/login/passkey/",
        login_not_required(lazy_view("people.sign_in.views.PasskeyLoginView")),
        name="mfa_login_webauthn",
    ),
    path(
        "accounts/login/second/",
        login_not_required(lazy_view("people.sign_in.views.StepView")),
        name="mfa_authenticate",
    ),
    path(
        "accounts/login/provider/",
        login_not_required(lazy_view("people.sign_in.provider.begin")),
        name="oidc-login",
    ),
    path(
        "accounts/login/provider/back/",
        login_not_required(lazy_view("people.sign_in.provider.come_back")),
        name="oidc-callback",
    ),
    path(
        "accounts/logout/",
        login_not_required(lazy_view("people.sign_in.views.sign_out")),
        name="account_logout",
    ),
    path(
        "accounts/reauthenticate/",
        reauthentication.reauthenticate,
        name="account_reauthenticate",
    ),
    path(
        "accounts/reauthenticate/resubmit/",
        reauthentication.resubmit,
        name="account_resubmit",
    ),
    path(
        "accounts/reauthenticate/code/",
        lazy_view("people.sign_in.views.CodeAgainView"),
        name="mfa_reauthenticate",
    ),
    path(
        "accounts/reauthenticate/passkey/",
        lazy_view("people.sign_in.views.PasskeyAgainView"),
        name="mfa_reauthenticate_webauthn",
    ),
    path("people/me/", accounts.account, name="account"),
    path("people/me/password/", accounts.own_password, name="own-password"),
    path("people/me/sessions/", accounts.sessions, name="sessions"),
    path(
        "people/me/sessions/<int:session_id>/end/",
        accounts.end_session,
        name="end-session",
    ),
    path(
        "people/me/sessions/end-others/", accounts.end_others, name="end-other-sessions"
    ),
    path(
        "people/me/address/<str:proof>/", accounts.prove_address, name="prove-address"
    ),
    path("people/me/keys/", accounts.shortcuts, name="keys"),
    path("people/me/chat/", accounts.own_chat_accounts, name="own-chat-accounts"),
    path(
        "people/me/chat/unlink/",
        accounts.unlink_chat_account,
        name="unlink-chat-account",
    ),
    path(
        "people/me/chat/<slug:token>/",
        accounts.link_chat_account,
        name="link-chat-account",
    ),
    path(
        "people/me/factors/",
        lazy_view("people.accounts.factor_views.list_factors"),
        name="factors",
    ),
    path(
        "people/me/factors/app/",
        lazy_view("people.accounts.factor_views.app"),
        name="factor-app",
    ),
    path(
        "people/me/factors/passkey/",
        lazy_view("people.accounts.factor_views.passkey"),
        name="factor-passkey",
    ),
    path(
        "people/me/factors/<int:factor_id>/remove/",
        lazy_view("people.accounts.factor_views.remove"),
        name="factor-remove",
    ),
    path(
        "people/me/factors/codes/",
        lazy_view("people.accounts.factor_views.make_codes"),
        name="recovery-codes",
    ),
    path("people/", directory.people, name="people"),
    path("people/<int:person_id>/", directory.person, name="person"),
    path("people/<int:person_id>/roles/add/", directory.add_role, name="add-role"),
    path(
        "people/<int:person_id>/roles/remove/",
        directory.remove_role,
        name="remove-role",
    ),
    path(
        "people/<int:person_id>/deactivate/",
        directory.deactivate_person,
        name="deactivate-person",
    ),
    path(
        "people/<int:person_id>/reactivate/",
        directory.reactivate_person,
        name="reactivate-person",
    ),
    path(
        "people/<int:person_id>/password/",
        directory.password_link,
        name="password-link",
    ),
    path(
        "people/<int:person_id>/chat/remove/",
        directory.remove_chat_account,
        name="remove-chat-account",
    ),
    path(
        "people/<int:person_id>/factors/remove/",
        directory.remove_factors,
        name="take-factors-off",
    ),
    path("people/second-factor/", safeguards.second_factor, name="second-factor"),
    path("people/second-factor/set/", safeguards.set_rule, name="set-second-factor"),
    path("changes/", safeguards.pending_changes, name="pending-changes"),
    path("changes/ask/", safeguards.ask, name="ask-second-admin"),
    path("changes/setting/", safeguards.set_setting, name="set-second-admin"),
    path(
        "changes/<int:change_id>/accept/",
        safeguards.accept_change,
        name="accept-change",
    ),
    path(
        "changes/<int:change_id>/decline/",
        safeguards.decline_change,
        name="decline-change",
    ),
    path(
        "changes/<int:change_id>/secret/", safeguards.show_secret, name="change-secret"
    ),
    path(
        "changes/<int:change_id>/withdraw/", safeguards.withdraw, name="withdraw-change"
    ),
    path(
        "people/invitations/<int:invitation_id>/withdraw/",
        directory.withdraw_link,
        name="withdraw-invitation",
    ),
    path("people/invite/", invitations.invite_person, name="invite"),
    path("join/<slug:token>/", invitations.join_page, name="join"),
    path("audit/reports/", reports.reports, name="reports"),
    path("audit/reports/rights/", reports.rights, name="report-rights"),
    path("audit/export/", exports.export, name="export"),
]
