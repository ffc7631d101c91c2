"""The address of one-time links, for whoever has one."""

from django.urls import path

from people.views.joining import join_page

urlpatterns = [path("<slug:token>/", join_page, name="join")]
