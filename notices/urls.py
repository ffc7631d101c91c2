"""The URLs of notices."""

from django.urls import path

from notices import views

urlpatterns = [
    path("notices/", views.notices, name="notices"),
    path("notices/read/", views.read_notices, name="read-notices"),
    path("notices/<int:notice_id>/", views.open_notice, name="notice"),
    path("notices/<int:notice_id>/read/", views.read_notices, name="read-notice"),
]
