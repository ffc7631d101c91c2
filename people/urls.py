"""Addresses of signing in and out. Of django-allauth's pages only those that the desk has a use for are here."""

from django.urls import path

from people.lazy_views import later
from people.views.signing_out import sign_out

_IN = "people.sign_in.views"

urlpatterns = [
    path("login/", later(f"{_IN}.DeskLoginView"), name="account_login"),
    path("login/passkey/", later(f"{_IN}.PasskeyLoginView"), name="mfa_login_webauthn"),
    path("login/second/", later(f"{_IN}.StepView"), name="mfa_authenticate"),
    path("login/provider/", later("people.views.provider.begin"), name="oidc-login"),
    path("login/provider/back/", later("people.views.provider.come_back"), name="oidc-callback"),
    path("logout/", sign_out, name="account_logout"),
    path("reauthenticate/", later("people.views.reauthenticate.reauthenticate"), name="account_reauthenticate"),
    path("reauthenticate/go-on/", later("people.views.reauthenticate.go_on"), name="account_go_on"),
    path("reauthenticate/code/", later(f"{_IN}.CodeAgainView"), name="mfa_reauthenticate"),
    path("reauthenticate/passkey/", later(f"{_IN}.PasskeyAgainView"), name="mfa_reauthenticate_webauthn"),
]
