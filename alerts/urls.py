"""Addresses of the alerts pages."""

from django.urls import path

from alerts.views import destinations as views

urlpatterns = [
    path("alerts/", views.alerts, name="alerts"),
    path("alerts/add/", views.add, name="add-destination"),
    path("alerts/<int:destination_id>/", views.change, name="destination"),
    path("alerts/<int:destination_id>/test/", views.test, name="test-destination"),
    path("alerts/<int:destination_id>/on/", views.on, name="switch-on-destination"),
    path("alerts/<int:destination_id>/remove/", views.remove, name="remove-destination"),
]
