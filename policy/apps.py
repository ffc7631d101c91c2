"""The policy app."""

from django.apps import AppConfig


class PolicyConfig(AppConfig):
    name = "policy"
