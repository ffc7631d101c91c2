"""The URLs of notices."""

from django.urls import path

from notices import views

urlpatterns = [
    path("notices/", views.notices, name="notices"),
    path("notices/read/", views.read_notices, name="read-notices"),
    path("account/notifications/", views.edit_preferences, name="notice-preferences"),
    path("notices/stop/<str:signed>/", views.stop, name="stop-mail"),
    path("notices/<int:notice_id>/", views.open_notice, name="notice"),
    path("notices/<int:notice_id>/read/", views.read_notices, name="read-notice"),
]
