"""Addresses of signing in and out; the rest of allauth's pages come with the pages for people."""

from allauth.account.views import LoginView
from django.urls import path

from people.views import sign_out

urlpatterns = [
    path("login/", LoginView.as_view(), name="account_login"),
    path("logout/", sign_out, name="account_logout"),
]
