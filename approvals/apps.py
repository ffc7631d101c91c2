"""Django's configuration of the approvals app. At start it connects the app's receivers
to signals: what becomes known of messages, messages of threads, ledger entries, kill
switches that are released, and review plans that change.
"""

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class ApprovalsConfig(AppConfig):
    name = "approvals"

    def ready(self) -> None:
        # Importing registers the commands that a second admin has to accept, so that a
        # waiting one is found by its name.
        import approvals.brake.commands
        import approvals.usual_texts  # noqa: F401
        from approvals import collaboration, examination
        from approvals.decisions import execute
        from approvals.escalation import handling
        from audit.recording import recorded
        from mirror import store, threads
        from people.models import Person
        from policy.kill_switch import released
        from policy.models import DutyTurn, ReviewPlan, WorkCalendar

        store.more_known.connect(examination.on_more_known)
        threads.connect()
        recorded.connect(collaboration.on_recorded)
        post_save.connect(collaboration.on_person_saved, sender=Person)
        released.connect(execute.on_released)
        for model in (ReviewPlan, DutyTurn, WorkCalendar):
            for signal in (post_save, post_delete):
                signal.connect(handling.on_plan_changed, sender=model)
