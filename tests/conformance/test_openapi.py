"""The OpenAPI document is correct: every answer is one that it lists."""

import contextlib
import itertools

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis.errors import Unsatisfiable

from tests.conformance.tenant import ok, unique
from tests.integration.gateway_served import served_gateway

# Requests per kind and operation: half of them about existing objects.
EXAMPLES = 4
# The first would delete the account of the requests. The second answers 501 and what to
# use instead, which is an error to whoever looks for errors of the server.
NOT_ASKED = {("delete", "/v1/account"), ("post", "/v1/account")}


def things(tenant):
    """Existing objects for most names in a path."""
    spare = tenant.add_key("spare", "read")
    sent = tenant.send(
        attachments=[
            {"name": "a", "content_base64": "YQ==", "content_type": "text/plain"}
        ]
    )
    hook = tenant.subscribe("oversight.pending")
    contact = ok(tenant.post("/v1/contacts", email="c@x.example"), 201)
    domain = {"domain": f"{unique('d').replace(' ', '')}.example"}
    return {
        "mailbox": tenant.mailbox,
        "email": sent["id"],
        "thread": sent["thread_id"],
        "name": "a",
        "key_id": spare["id"],
        "contact_id": contact["id"],
        "webhook_id": hook["id"],
        "domain_id": ok(tenant.post("/v1/domains", key="admin", **domain), 201)["id"],
        "address": "c@x.example",
    }


@pytest.mark.slow
def test_no_generated_request_gets_an_undocumented_answer(tenant):
    # Not at the top: they take seconds to import, and every test process imports this
    # file to collect it.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    document = tenant.gateway.call("GET", "/openapi.json").json()
    real = things(tenant)
    turns = itertools.count(1)
    found = []
    statuses = set()

    def ask(case):
        turn = next(turns)
        if turn % 2:
            named = case.path_parameters or {}
            case.path_parameters = {
                name: real.get(name, value) for name, value in named.items()
            }
        # Every third as the desk, the others as an agent. Admin comes last: it may
        # delete the object of the request.
        for key in ("agent" if turn % 3 else "oversight", "admin"):
            bearer = {"Authorization": f"Bearer {tenant.keys[key]}"}
            try:
                response = case.call(base_url=served.url, headers=bearer)
                statuses.add(response.status_code)
                case.validate_response(
                    response,
                    checks=[
                        not_a_server_error,
                        checks.status_code_conformance,
                        checks.content_type_conformance,
                        checks.response_schema_conformance,
                    ],
                )
            except (schemathesis.errors.FailureGroup, AssertionError) as failure:
                found.append(f"{case.operation.label} with {key}: {failure}")

    few = hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    loaded = schemathesis.openapi.from_dict(document)
    with served_gateway() as served:
        for operation in (one.ok() for one in loaded.get_all_operations()):
            if (operation.method.lower(), operation.path) in NOT_ASKED:
                continue
            for mode in schemathesis.GenerationMode:
                # An operation without parameters has no invalid requests.
                with contextlib.suppress(Unsatisfiable):
                    few(given(operation.as_strategy(generation_mode=mode))(ask))()
    assert not found, "\n\n".join(found[:20])
    # Enough requests were successful.
    assert {200, 201, 403, 404, 422} <= statuses
