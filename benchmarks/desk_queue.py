"""How much longer does a page of the queue take with 100,000 messages waiting than with 100?"""

import contextlib
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import own_database, prepare

FEW, MANY = 100, sized(100_000, smoke=200)
ROUNDS, TIMES = sized(12, smoke=1), sized(5, smoke=2)
GOAL, MOST_QUERIES, LEAST_ADMIN = 1.5, 12, 5.0
PATHS = ("/queue/", "/queue/?order=riskiest", "/queue/?order=soonest")


def measure() -> Result:
    """Ask one process for the page over few and over many in turn, and for Django's own list of the many."""
    with own_database():
        prepare_with_admin()
        desk, connection, mailboxes = make_desk()
        fill(connection, mailboxes, first=1, last=FEW)
        with copy_of_database() as few_name:
            fill(connection, mailboxes, first=FEW + 1, last=MANY)
            times = {path: in_turn(desk, path, few_name) for path in PATHS}
            queries = max(count_queries(desk, path) for path in PATHS)
            listed = admin_page()
            admin = quickest([timed(listed) for _ in range(ROUNDS * TIMES)])
    ratios = {path: many / few for path, (few, many) in times.items()}
    path = max(PATHS, key=lambda path: ratios[path])
    return Result(
        question=__doc__ or "",
        figures=(
            *(Figure(f"{path}, {MANY:,}", times[path][1] * 1000, "ms") for path in PATHS),
            *(Figure(f"{path}, {FEW}", times[path][0] * 1000, "ms") for path in PATHS),
            Figure(f"Django's admin, {MANY:,}", admin * 1000, "ms"),
        ),
        control=Figure(f"{path}, {FEW}", times[path][0] * 1000, "ms"),
        ratio=ratios[path],
        goal=GOAL,
        runs=ROUNDS * TIMES,
        at_most=True,
        needs=(
            Need("queries of a page", queries, MOST_QUERIES, at_most=True),
            Need("pages a second, over Django's admin", admin / times["/queue/"][1], LEAST_ADMIN),
        ),
    )


@contextlib.contextmanager
def copy_of_database() -> Iterator[str]:
    """Keep a copy of the database as it is now, beside it: its people and sessions are the same."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    copy = f"{name}_few"
    connection.close()
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True, dbname="postgres") as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")  # type: ignore[arg-type]
        owner.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")  # type: ignore[arg-type]
        try:
            yield copy
        finally:
            use(name)
            owner.execute(f"DROP DATABASE {copy} WITH (FORCE)")  # type: ignore[arg-type]


def use(name: str) -> None:
    """Let Django ask the database of this name from now on."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = name


def in_turn(client: Any, path: str, few_name: str) -> tuple[float, float]:
    """Return how long a page over few and a page over many takes, asked for in turn on a machine that is never still.

    The quickest tenth counts: what else the machine does is no part of the question.
    """
    from django.db import connection

    names = (few_name, connection.settings_dict["NAME"])
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for name, found in zip(names, times, strict=True):
            use(name)
            see(client.get(path), path)
            found += [timed(lambda: client.get(path)) for _ in range(TIMES)]
    return quickest(times[0]), quickest(times[1])


def see(answer: Any, path: str) -> None:
    """See that it is a page of the queue."""
    if answer.status_code != 200 or answer.content.count(b'class="item') < 25:
        raise RuntimeError(f"{path} is no page of the queue: {answer.status_code}")


def timed(ask: Callable[[], Any]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def quickest(times: list[float]) -> float:
    """Return what the quickest tenth stays under."""
    return statistics.quantiles(times, n=10)[0]


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

    from mirror.models import Connection, Mailbox
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
    client.force_login(person, backend="people.sign_in.backend.PersonBackend")
    return client, connection.pk, [one.pk for one in made]


def fill(connection: int, mailboxes: list[int], *, first: int, last: int) -> None:
    """Add messages."""
    from benchmarks.queue_rows import fill as add

    add(connection, mailboxes, first=first, last=last)


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


def count_queries(client: Any, path: str) -> int:
    """Return how many statements a page sends."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as sent:
        client.get(path)
    return len(sent)
