"""Addresses of the alerts pages."""

from django.urls import path

from alerts import views

urlpatterns = [path("alerts/", views.alerts, name="alerts")]
