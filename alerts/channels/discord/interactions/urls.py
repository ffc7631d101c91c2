"""The address that Discord calls."""

from django.urls import path

from alerts.channels.discord.interactions.endpoint import interactions

urlpatterns = [path("discord/interactions/", interactions, name="discord-interactions")]
