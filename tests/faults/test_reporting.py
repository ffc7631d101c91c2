"""Reports to stand-ins for Sentry and for a collector of OpenTelemetry, from processes
in which the database refuses a row, and quotes mail in its error.
"""

import gzip
import json
import sys
import uuid

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from launcher.paths import ROOT
from tests.commands import run_command
from tests.desk import Product
from tests.programs import program
from tests.stack import running_stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

# A trigger that refuses the entry of one act in the ledger.
REFUSE = """
CREATE FUNCTION refuse_{name}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refused beside {words}'; END $$;
CREATE TRIGGER refuse_{name} BEFORE INSERT ON audit_entry FOR EACH ROW
WHEN (NEW.action = '{action}') EXECUTE FUNCTION refuse_{name}();
"""


class Reports:
    """What the stand-ins have received."""

    def __init__(self, sentry, collector):
        self._sentry = sentry
        self._collector = collector

    def events(self):
        """Return the events that Sentry got."""
        texts = [
            gzip.decompress(post.body).decode().splitlines()
            for post in self._sentry.posts_to("/api/7/envelope/")
        ]
        # Envelope headers, then a header and a payload for each item.
        parsed = [json.loads(line) for lines in texts for line in lines]
        return [one for one in parsed if "exception" in one]

    def spans(self):
        """Return (service, span) for each span that the collector got."""
        return [
            (attribute.value.string_value, span)
            for post in self._collector.posts_to("/v1/traces")
            for resource in ExportTraceServiceRequest.FromString(
                post.body
            ).resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def everything(self):
        """Return all that was received, headers and bodies, as text."""
        posts = [*self._sentry.posts, *self._collector.posts]
        return "\n".join(map(as_text, posts))

    def sent_to_the_collector(self):
        return "\n".join(map(as_text, self._collector.posts))


def as_text(post):
    body = gzip.decompress(post.body) if post.body[:2] == b"\x1f\x8b" else post.body
    return f"{post.path} {dict(post.headers)} {body.decode(errors='replace')}"


def function_names(event):
    """Return the functions in the frames of an event, and check that no frame has
    variables.
    """
    frames = [
        frame
        for error in event["exception"]["values"]
        for frame in error["stacktrace"]["frames"]
    ]
    assert all("vars" not in frame for frame in frames)
    return {frame["function"] for frame in frames}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The reports about a message whose page and whose decision fail."""
    with (
        program() as sentry,
        program() as collector,
        program() as hooks,
        running_stack(
            tmp_path_factory,
            SENTRY_DSN=f"{sentry.url.replace('//', '//public@')}/7",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="200",
            OUTGOING_ALLOW=hooks.url,
        ) as stack,
    ):
        product = Product(stack)
        product.set_undo_window("200 milliseconds")
        reports = Reports(sentry, collector)
        reports.product = product
        reports.hooks = hooks
        reports.words = f"confidential-{uuid.uuid4().hex}"
        yield fail_twice(reports)


def fail_twice(reports):
    """Send a message, and have its page fail in the desk, then its decision in the
    worker.
    """
    product = reports.product
    ana = product.reviewer()
    hook = {"url": f"{reports.hooks.url}/", "events": ["oversight.pending"]}
    made = product.call("POST", "/v1/webhooks", key="ADMIN_KEY", json=hook)
    assert made.status_code == 201, made.text
    sent = product.call(
        "POST",
        "/v1/send_email",
        json={
            "from": product.known["MAILBOX_ADDRESS"],
            "to": "dana@northwind.example",
            "subject": reports.words,
            "body": f"The word is {reports.words}.",
        },
        headers={"X-Request-Id": "asked-1", "baggage": f"note={reports.words}"},
    )
    row = product.held(ana, sent.json()["message_id"])
    owner = product.stack.env["DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as database:
        for action in ("message.opened", "decision.calling"):
            name = action.partition(".")[0]
            database.execute(
                REFUSE.format(name=name, action=action, words=reports.words)
            )
        page = ana.get(f"/queue/{row['id']}/?note={reports.words}")
        assert page.status_code == 500
        database.execute("DROP TRIGGER refuse_message ON audit_entry")
        ana.approve(row)
        product.wait_for(
            lambda: len(reports.events()) > 1,
            60,
            "the errors of the page and of the decision",
        )
        product.wait_for(
            lambda: {"web", "worker-desk"} <= {name for name, _ in in_logs(reports)},
            60,
            "the errors in the logs",
        )
    product.wait_for(
        lambda: "asked-1" in reports.everything(), 60, "the spans of the call"
    )
    reports.ana = ana
    return reports


def in_logs(reports):
    """Return (process, trace id) of each error that was logged."""
    return {
        (name, line.get("trace"))
        for name in ("web", "worker-desk")
        for text in reports.product.stack.log(name).splitlines()
        if text[:1] + text[-1:] == "{}"
        for line in [json.loads(text)]
        if "error" in line
    }


def test_errors_of_a_page_and_of_a_task_reach_sentry_with_their_trace_id(reports):
    events = reports.events()
    for process, function in (
        ("web", "message_page"),
        ("worker-desk", "execute_decision"),
    ):
        found = [event for event in events if function in function_names(event)]
        assert found, [sorted(function_names(event)) for event in events]
        for event in found:
            types = [error["type"] for error in event["exception"]["values"]]
            assert "RaiseException" in types
            assert (process, event["tags"]["trace"]) in in_logs(reports)


def test_spans_of_both_products_have_the_trace_id_of_the_logs(reports):
    spans = reports.spans()
    assert {name for name, _ in spans} == {
        "countersign-dashboard",
        "countersign-gateway",
    }
    traced = {
        span.name
        for _, span in spans
        for attribute in span.attributes
        if attribute.key == "countersign.trace"
        and attribute.value.string_value == "asked-1"
    }
    assert {"POST v1/send_email", "INSERT", "POST"} <= traced
    assert any(name.startswith("apply_async/") for name in traced)
    assert any(span.name.startswith("run/") for _, span in spans)


def test_reports_hold_no_mail_no_secret_and_no_address(reports):
    everything = reports.everything()
    known = reports.product.known
    hidden = {
        name: known[name]
        for name in known
        if name.endswith(("KEY", "SECRET", "PASSWORD", "_EMAIL", "_ADDRESS"))
    }
    hidden |= dict(enumerate(reports.ana.session.cookies.values()))
    hidden |= {"words": reports.words, "address": "dana@northwind.example"}
    assert [name for name, text in hidden.items() if text in everything] == []
    # Frames in an event quote our code, in which such words are; spans hold none.
    spans = reports.sent_to_the_collector()
    words = ("/queue/", "INSERT INTO", "SELECT ", "note=", "Bearer", "127.0.0.1/")
    assert [text for text in words if text in spans] == []


def test_call_to_others_carries_ids_and_no_words_of_a_caller(reports):
    hooks = reports.hooks
    reports.product.wait_for(lambda: hooks.posts, 60, "the webhook")
    headers = hooks.posts[0].headers
    assert headers["X-Request-Id"] == "asked-1"
    assert "traceparent" in headers
    assert not {"baggage", "sentry-trace"} & {name.lower() for name in headers}


def loaded(*names, **variables):
    """The packages of these that a worker and a web process have loaded."""
    code = (
        "import sys, dashboard.worker, dashboard.wsgi\n"
        f"print([name for name in {names} if name in sys.modules])"
    )
    variables |= {
        "SECRET_KEY": "x" * 32,
        "DATABASE_URL": "postgresql://127.0.0.1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    ran = run_command([sys.executable, "-c", code], cwd=ROOT, env=variables)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_without_the_variables_no_reporter_is_loaded():
    names = ("sentry_sdk", "opentelemetry.exporter", "opentelemetry.instrumentation")
    assert loaded(*names) == "[]\n"


def test_reporters_load_no_package_that_only_the_gateway_needs():
    dsn = "http://public@127.0.0.1:1/7"
    assert loaded("sentry_sdk", "mcp", SENTRY_DSN=dsn) == "['sentry_sdk']\n"
