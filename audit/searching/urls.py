"""Addresses of saved searches."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
