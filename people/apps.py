"""The Django app of people. When Django starts, it imports the modules that register
commands for a second admin and connect signal receivers.
"""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "people"

    def ready(self) -> None:
        # A command that can wait for a second admin is found by its name, and a signal
        # receiver is called, only after its module was imported.
        import people.invitations.links
        import people.roles
        import people.second_admin.setting
        import people.sign_in.factors
        import people.sign_in.sessions  # noqa: F401
