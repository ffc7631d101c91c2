"""The URLs of the pages of allowlists, review plans, calendars and duty."""

from django.urls import path

from policy.allowlists import views as allowlists
from policy.plans import views as plans

urlpatterns = [
    path("allowlists/", allowlists.allowlists, name="allowlists"),
    path("allowlists/refusals/", allowlists.refusals, name="refusals"),
    path(
        "allowlists/refusals/<int:refusal_id>/allow/",
        allowlists.allow_refused,
        name="allow-refused",
    ),
    path("allowlists/entries/<int:entry_id>/", allowlists.entry, name="allow-entry"),
    path("allowlists/add/", allowlists.add_list, name="add-allowlist"),
    path("allowlists/<int:list_id>/", allowlists.allowlist, name="allowlist"),
    path(
        "allowlists/<int:list_id>/preview/",
        allowlists.preview_change,
        name="preview-allowlist",
    ),
    path("allowlists/<int:list_id>/save/", allowlists.save, name="save-allowlist"),
    path(
        "allowlists/<int:list_id>/delete/",
        allowlists.delete_list,
        name="delete-allowlist",
    ),
    path(
        "allowlists/<int:list_id>/export/", allowlists.export, name="export-allowlist"
    ),
    path("review-plans/", plans.review_plans, name="review-plans"),
    path("review-plans/duty/", plans.add_duty, name="add-duty"),
    path("review-plans/duty/<int:turn_id>/end/", plans.end_duty, name="end-duty"),
    path("review-plans/calendars/add/", plans.add_calendar, name="add-calendar"),
    path("review-plans/calendars/<int:calendar_id>/", plans.calendar, name="calendar"),
    path(
        "review-plans/calendars/<int:calendar_id>/save/",
        plans.save_calendar,
        name="save-calendar",
    ),
    path(
        "review-plans/calendars/<int:calendar_id>/remove/",
        plans.remove_calendar,
        name="remove-calendar",
    ),
    path("review-plans/<slug:scope>/", plans.review_plan, name="review-plan"),
    path(
        "review-plans/<slug:scope>/save/",
        plans.save_review_plan,
        name="save-review-plan",
    ),
    path(
        "review-plans/<slug:scope>/remove/",
        plans.remove_review_plan,
        name="remove-review-plan",
    ),
]
