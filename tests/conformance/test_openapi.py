"""The OpenAPI document is correct: its examples run, and every answer is one that it
lists.
"""

import contextlib
import io

import hypothesis
import pytest
import requests
import urllib3
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable

from gateway.models import ApprovalRequest
from tests.conformance.tenant import ok, unique

# Requests per kind and operation: half of them about existing objects.
EXAMPLES = 6
# Operations that would delete the account of the requests.
LAST = {("DELETE", "/v1/account")}
# Answers 501 and what to use instead, which is an error to whoever looks for errors of
# the server.
NOT_OFFERED = {("POST", "/v1/account")}


def things(tenant):
    """An existing object for every name in a path."""
    for name, scopes in (("spare", ["read"]), ("gone", ["read"])):
        tenant.add_key(name, *scopes)
    sent = tenant.send(
        attachments=[
            {"name": "a", "content_base64": "YQ==", "content_type": "text/plain"}
        ]
    )
    keys = {
        row["name"]: row["id"]
        for row in tenant.get("/v1/api-keys", key="admin")["api_keys"]
    }
    hook = tenant.subscribe("oversight.pending")
    tenant.held()
    tenant.wait_for_events(hook)
    deliveries = tenant.get("/v1/webhook-deliveries", key="admin")["deliveries"]
    contact = ok(tenant.post("/v1/contacts", email="c@x.example"), 201)
    domain = {"domain": f"{unique('d').replace(' ', '')}.example"}
    allowed = {"pattern": "dana@northwind.example"}
    tenant.post(f"{tenant.base}/allowlist", key="admin", **allowed)
    allowed["approval_code"] = (
        ApprovalRequest.objects.filter(account=tenant.account).latest("created_at").code
    )
    ok(tenant.post(f"{tenant.base}/allowlist", key="admin", **allowed), 201)
    return {
        "mailbox": tenant.mailbox,
        "entry_id": tenant.get(f"{tenant.base}/allowlist")["entries"][0]["id"],
        "email": sent["id"],
        "thread": sent["thread_id"],
        "name": "a",
        "key_id": keys["spare"],
        "contact_id": contact["id"],
        "webhook_id": hook["id"],
        "delivery_id": deliveries[0]["id"],
        "domain_id": ok(tenant.post("/v1/domains", key="admin", **domain), 201)["id"],
        "address": "c@x.example",
    }


class InProcess(requests.adapters.HTTPAdapter):
    """Routes requests of `requests` to the gateway in this process."""

    def __init__(self, gateway):
        super().__init__()
        self.gateway = gateway

    def send(self, request, **_):
        headers = {
            name: text
            for name, text in request.headers.items()
            if name not in ("Content-Length", "Host")
        }
        answer = self.gateway.call(
            request.method,
            request.path_url,
            data=request.body,
            headers=headers,
            raw=True,
        )
        answers = {
            "status": answer.status_code,
            "headers": dict(answer.headers),
            "preload_content": False,
        }
        return self.build_response(
            request, urllib3.HTTPResponse(body=io.BytesIO(answer.content), **answers)
        )


class Prober:
    """Sends generated requests, half of them about existing objects, and records
    violations of the document.
    """

    def __init__(self, tenant):
        # Not at the top: they take seconds to import, and every test process imports
        # this file to collect it.
        import schemathesis
        from schemathesis.checks import not_a_server_error
        from schemathesis.specs.openapi import checks

        self.modes = (
            schemathesis.GenerationMode.POSITIVE,
            schemathesis.GenerationMode.NEGATIVE,
        )
        document = tenant.gateway.call("GET", "/openapi.json").json()
        self.operations = [
            found.ok()
            for found in schemathesis.openapi.from_dict(document).get_all_operations()
        ]
        self.session = requests.Session()
        self.session.mount("http://", InProcess(tenant.gateway))
        self.failures = (schemathesis.errors.FailureGroup, AssertionError)
        self.checks = [
            not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
        self.tenant = tenant
        self.real = things(tenant)
        self.turn = 0
        self.found = []
        self.statuses = set()

    def ask(self, case):
        self.turn += 1
        if self.turn % 2:
            named = case.path_parameters or {}
            case.path_parameters = {
                name: self.real.get(name, value) for name, value in named.items()
            }
        # Every third as the desk, the others as an agent. Admin comes last: it may
        # delete the object of the request.
        for key in ("agent" if self.turn % 3 else "oversight", "admin"):
            bearer = {"Authorization": f"Bearer {self.tenant.keys[key]}"}
            try:
                response = case.call(
                    base_url="http://localhost", session=self.session, headers=bearer
                )
                self.statuses.add(response.status_code)
                case.validate_response(response, checks=self.checks)
            except self.failures as failure:
                self.found.append(f"{case.operation.label} with {key}: {failure}")

    def probe(self, operation):
        few = hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        for mode in self.modes:
            # An operation without parameters has no invalid requests.
            with contextlib.suppress(Unsatisfiable):
                few(given(case=operation.as_strategy(generation_mode=mode))(self.ask))()


@pytest.mark.slow
def test_no_generated_request_gets_an_undocumented_answer(tenant):
    prober = Prober(tenant)
    for operation in prober.operations:
        if (operation.method.upper(), operation.path) not in LAST | NOT_OFFERED:
            prober.probe(operation)
    assert not prober.found, "\n\n".join(prober.found[:20])
    # Enough requests were successful.
    assert {200, 201, 403, 404, 422} <= prober.statuses


def example_of(document, operation):
    """The example of an operation's body; every body has one."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    # An optional body is wrapped by its default.
    schema = next((one for one in schema.get("allOf", []) if "$ref" in one), schema)
    name = schema.get("$ref", "").rpartition("/")[2]
    return (document["components"]["schemas"][name] if name else schema)["example"]


def with_real_things(tenant, path, example, real):
    """The example with existing ids, mailboxes and codes, otherwise unchanged."""
    ids = {
        "from": tenant.address,
        "mailbox": tenant.address,
        "mailbox_id": tenant.mailbox,
    }
    if "{email}" in path or {"email_id", "message_id", "id", "thread_id"} & set(
        example
    ):
        at = (
            {"send_at": "2099-01-01T00:00:00Z", "gate_timing": "schedule_first"}
            if "schedule" in path
            else {}
        )
        email = tenant.send(**at)
        real = real | {"email": email["id"]}
        ids |= dict.fromkeys(("email_id", "message_id", "id"), email["id"]) | {
            "thread_id": email["thread_id"]
        }
    if path.endswith("/upgrade"):
        body = {"target_mode": "monitored"}
        ok(tenant.post(f"{tenant.base}/request-upgrade", **body))
        ids["code"] = tenant.get("/v1/upgrade-requests", key="admin")["requests"][0][
            "code"
        ]
    if "domain" in example:
        ids["domain"] = f"{tenant.mailbox.lower()}.example"
    if "address_local" in example:
        ids["address_local"] = unique("box").replace(" ", "-")
    for name, value in real.items():
        path = path.replace(f"{{{name}}}", value)
    return path, {name: ids.get(name, value) for name, value in example.items()}


def test_every_example_of_a_body_runs(make_tenant):
    tenant = make_tenant()
    document = tenant.gateway.call("GET", "/openapi.json").json()
    real = things(tenant)
    bodies = [
        (method.upper(), path, example_of(document, operation))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]
    assert len(bodies) > 20
    # Operations that loosen the mailbox or delete objects come last, the longest paths
    # first.
    late = sorted(
        bodies,
        key=lambda body: (
            body[:2] in LAST,
            body[0] == "DELETE",
            body[1].endswith("upgrade"),
            -body[1].count("/"),
        ),
    )
    for method, path, example in late:
        where, filled = with_real_things(tenant, path, example, real)
        # Several paths share an example, and the same message is refused within a
        # minute.
        tenant.gateway.sql(
            "DELETE FROM gateway_idempotencyrecord WHERE mailbox_id = %s",
            tenant.mailbox,
        )
        answers = []
        for key in ("agent", "oversight", "admin"):
            answer = tenant.call(method, where, key=key, json=filled)
            answers.append(answer.text)
            # Unsupported features, or ones that the operator has not enabled.
            if answer.ok or answer.status_code == 501:
                break
        else:
            pytest.fail(f"{method} {path} {filled}: {answers}")
