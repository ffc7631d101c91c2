"""A function of Inngest's own package that waits for the decision, and our event that
resumes it.
"""

import contextlib
import re
import threading
import warnings

import pytest
from werkzeug.serving import make_server

from alerts.deliveries.event_bodies import send_event
from alerts.models import Destination
from tests.conformance import inngest_standin
from tests.conformance.recipes import ROOT
from tests.factories import make_connection, make_message
from tests.integration.test_events_out import decided, tell

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with inngest_standin.inngest() as standin:
        yield standin


@contextlib.contextmanager
def serving(client, functions):
    """The package's own endpoint, in a typical app."""
    # Not at the top: every test process imports this file for collection, and few run
    # its tests.
    import flask

    with warnings.catch_warnings():
        # The package uses deprecated pydantic features.
        warnings.simplefilter("ignore", DeprecationWarning)
        import inngest.flask

    app = flask.Flask(__name__)
    inngest.flask.serve(app, client, functions)
    running = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(
        target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/api/inngest"
    finally:
        running.shutdown()
        thread.join(5)


@pytest.fixture(scope="module")
def app(server):
    """The function from the documentation."""
    section = (
        (ROOT / "docs" / "bot-developers.md")
        .read_text()
        .partition("## Events to Inngest\n")[2]
    )
    found = re.search(r"```python\n(.*?)```", section, re.S)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("INNGEST_DEV", server.url)
        names = {}
        exec(compile(found[1], "bot-developers.md", "exec"), names)
        with serving(names["client"], [names["refund"]]) as url:
            server.sync(url)
            yield url


@pytest.fixture
def connection(db, upstream):
    return make_connection(api_url=upstream.url)


def test_waiting_function_resumes_with_the_decision_about_its_own_message(
    app, server, connection, reviewer, upstream
):
    other, ours = (
        make_message(connection, metadata={"run_id": run})
        for run in ("another", "refund-7")
    )
    written = {"name": "app/refund.written", "data": {"message_id": ours.upstream_id}}
    run = inngest_standin.Run(app, server.functions[0]["id"], written)
    waiting = run.next()
    assert waiting["op"] == "WaitForEvent"
    assert waiting["name"] == "multimail/email.decided"
    destination = Destination.objects.create(
        kind="inngest", name="Functions", url=f"{server.url}/e/a-key"
    )
    for message in (other, ours):
        decided(message, reviewer, upstream, "send_back", "Say which order.")
        send_event(tell(destination, message, "message.rejected"), destination)
    ended = server.wake(run, waiting)
    assert ended["op"] == "Ended"
    assert ended["output"]["decision"] == "rejected"
    assert ended["output"]["reason"] == "Say which order."
    assert ended["output"]["metadata"] == {"run_id": "refund-7"}
