"""How much longer does a page of the queue take with 100,000 messages waiting than with 100?"""

import os
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from benchmarks.result import Figure, Need, Result
from benchmarks.serving import own_database, prepare

FEW, MANY = 100, 100_000
TIMES = 60
GOAL, MOST_QUERIES, LEAST_ADMIN = 1.5, 12, 5.0
PATHS = ("/queue/", "/queue/?order=riskiest", "/queue/?order=soonest")


def measure() -> Result:
    """Ask for the page in one process, few first and many then, and for Django's own list of the same rows."""
    with own_database():
        prepare_with_admin()
        desk, connection, mailboxes = make_desk()
        fill(connection, mailboxes, first=1, last=FEW)
        few = {path: page_time(desk, path) for path in PATHS}
        fill(connection, mailboxes, first=FEW + 1, last=MANY)
        many = {path: page_time(desk, path) for path in PATHS}
        queries = max(count_queries(desk, path) for path in PATHS)
        admin = quick_time(admin_page())
    path = max(PATHS, key=lambda path: many[path] / few[path])
    return Result(
        question=__doc__ or "",
        figures=(
            *(Figure(f"{path}, {MANY:,} waiting", many[path] * 1000, "ms") for path in PATHS),
            *(Figure(f"{path}, {FEW} waiting", few[path] * 1000, "ms") for path in PATHS),
            Figure(f"Django's admin, {MANY:,} waiting", admin * 1000, "ms"),
        ),
        control=Figure(f"{path}, {FEW} waiting", few[path] * 1000, "ms"),
        ratio=many[path] / few[path],
        goal=GOAL,
        runs=TIMES,
        at_most=True,
        needs=(
            Need("queries of a page", queries, MOST_QUERIES, at_most=True),
            Need("pages a second, over Django's admin", admin / many["/queue/"], LEAST_ADMIN),
        ),
    )


def prepare_with_admin() -> None:
    """Bring Django into this process with the control's app, which must be there from the start."""
    from django.apps import apps
    from django.conf import settings

    from benchmarks.admin_list import APP

    os.environ["DEMO"] = "0"
    prepare()
    # Nobody has collected the files of the admin.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    if not apps.is_installed(APP):
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, APP]
        apps.set_installed_apps(settings.INSTALLED_APPS)


def make_desk() -> tuple[Any, int, list[int]]:
    """Make a connection with two mailboxes and a reviewer who sees both; return a signed-in client and the keys."""
    from django.conf import settings
    from django.test import Client

    from approvals.models import Connection, Mailbox
    from people.models import Grant, Person

    settings.ALLOWED_HOSTS = ["testserver"]
    connection = Connection.objects.create(slug="bench", name="Bench", api_url="http://127.0.0.1:1")
    names = ("support", "sales")
    made = [
        Mailbox.objects.create(connection=connection, upstream_id=name, address=f"{name}@yourteam.example")
        for name in names
    ]
    person = Person.objects.create_user(email="bench@yourteam.example", name="Bench", password=uuid.uuid4().hex)
    Grant.objects.create(person=person, role="reviewer")
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client, connection.pk, [one.pk for one in made]


def fill(connection: int, mailboxes: list[int], *, first: int, last: int) -> None:
    """Add messages."""
    from benchmarks.queue_rows import fill as add

    add(connection, mailboxes, first=first, last=last)


def page_time(client: Any, path: str) -> float:
    """Return how long a page takes, and see that it is one."""
    answer = client.get(path)
    if answer.status_code != 200 or answer.content.count(b'class="item') < 25:
        raise RuntimeError(f"{path} is no page of the queue: {answer.status_code}")
    return quick_time(lambda: client.get(path))


def admin_page() -> Callable[[], Any]:
    """Return what asks Django's own list for its first page."""
    from django.contrib.auth import get_user_model
    from django.test import RequestFactory

    from benchmarks.admin_list import message_list

    listed, person = message_list(), get_user_model().objects.get()

    def ask() -> Any:
        request = RequestFactory().get("/admin/")
        request.user = person
        answer = listed(request).render()
        if answer.status_code != 200 or answer.content.count(b"field-subject") < 50:
            raise RuntimeError("Django's list shows no page")
        return answer

    return ask


def quick_time(ask: Callable[[], Any]) -> float:
    """Return the time that the quickest tenth stay under: what else this machine does is no part of the question."""
    ask()
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return statistics.quantiles(times, n=10)[0]


def count_queries(client: Any, path: str) -> int:
    """Return how many statements a page sends."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as sent:
        client.get(path)
    return len(sent)
