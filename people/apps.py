"""The people app: records signing in and out in the ledger."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    name = "people"

    def ready(self) -> None:
        # Commands that wait for a second admin are known by their names once they are
        # imported, and receivers listen.
        import people.invitations.links
        import people.roles
        import people.second_admin.setting
        import people.sign_in.factors
        import people.sign_in.sessions  # noqa: F401
