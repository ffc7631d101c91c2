"""The practice app: adds practice messages to the desk when Django starts. It is
optional: without its line in the setting `FEATURES`, none of it is loaded.
"""

from django.apps import AppConfig


class PracticeConfig(AppConfig):
    name = "practice"

    def ready(self) -> None:
        from approvals import local_messages, sweeping
        from common.actors import Role
        from common.sweeps import duty
        from dashboard import words
        from dashboard.frame import context, find
        from people.second_admin.tightening import NEVER_WAITS
        from practice import ending, planting, views
        from practice.models import PracticeMessage, PracticeSetting

        local_messages.FEATURES.append(ending.PracticeMessages())
        sweeping.DUTIES["practice"] = duty(
            lambda: PracticeSetting.objects.order_by("pk"), planting.plant_due, most=200
        )
        sweeping.DUTIES["practice over"] = duty(
            PracticeMessage.objects.over, ending.end_over, most=200
        )
        NEVER_WAITS["switch_practice_off"] = "ends practice messages"
        words.SENSITIVE["practice-on"] = "switch practice messages on"
        context.STRIPS.append(views.strip)
        find.PAGES.append(
            (
                "Policy: practice messages",
                "practice",
                "planted test attention rules",
                lambda actor: actor.looks_after_people or actor.has(Role.REVIEWER),
            )
        )
