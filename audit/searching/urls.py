"""Addresses of saved searches."""

from django.urls import path

from audit.views import searches

urlpatterns = [
    path("searches/", searches.save, name="save-search"),
    path("searches/<int:search_id>/delete/", searches.delete, name="delete-search"),
]
