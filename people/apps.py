"""The people app: records signing in and out in the ledger."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "people"

    def ready(self) -> None:
        # Commands that wait for a second admin are known by their names once they are
        # imported, and receivers listen.
        import people.directory.deactivation
        import people.invitations.links
        import people.second_admin.person_figures
        import people.second_admin.setting
        import people.sign_in.events
        import people.sign_in.factors  # noqa: F401
