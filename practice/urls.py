"""The URLs of the page of practice messages, and of its two switches."""

from django.urls import path

from practice import views

urlpatterns = [
    path("policy/practice/", views.practice_page, name="practice"),
    path("policy/practice/on/", views.switch_practice_on, name="practice-on"),
    path("policy/practice/off/", views.switch_practice_off, name="practice-off"),
]
