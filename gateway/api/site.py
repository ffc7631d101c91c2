"""Puts the API together: its routers, the docs page and the OpenAPI document, and the
handlers that turn exceptions into JSON errors.
"""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, wraps
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template import Context, Engine
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from common.disk import is_disk_full_error
from common.mail_addresses import domain_of
from common.postgres import AWAY, is_away, is_read_only, is_read_only_error
from common.unique_keys import Json
from gateway import auditing
from gateway.api import (
    accounts,
    allowlists,
    callers,
    mailboxes,
    messages,
    other_paths,
    oversight,
    recipients,
    sending,
    webhooks,
)
from gateway.api.answers import Health, Problem
from gateway.api.bodies import INJECTION, StrictParser, sentence_of
from gateway.api.callers import METADATA
from gateway.api.other_paths import flat_router
from gateway.errors import (
    GatewayError,
    Invalid,
    InvalidKey,
    NotFound,
    Unavailable,
)
from gateway.lookups import mailbox_for
from gateway.messages import content
from gateway.middleware import failed, problem
from gateway.models import ApiKey
from gateway.states import Mode

log = logging.getLogger(__name__)

ABOUT = (
    "A self-hosted email API for agents, compatible with MultiMail's. Held mail waits for a person to approve it.\n\n"
    "To try a call here, press Authorize and paste a key into BearerKey. Each call names the scope that its key needs. "
    "A key that begins with `mm_test_` is a sandbox key: nothing it sends is delivered. `{mailbox}` is a mailbox's id "
    "or its address. Every error has `error`, a sentence, and `code`, a word for programs."
)
# The groups of calls, in the order of the docs page.
GROUPS = {
    "send": "Send, reply, and change what is scheduled.",
    "messages": "Read sent and received messages, their threads and tags; cancel what has not been sent. "
    "The bytes of a file are at `…/attachments/{name}`.",
    "flat": "The same with one path per verb, for chat commands and tools. Each path also works without `/v1`.",
    "oversight": "Messages waiting for a person, decisions, and the codes that loosen a mailbox.",
    "zapier": "The paths that Zapier's app calls, and spam reports, with only a message id.",
    "allowlists": "Whom a mailbox may write to, and which recipients were refused.",
    "recipients": "Contacts, and suppressed addresses, to which mail bounced or was marked as spam.",
    "webhooks": "Subscriptions to events, their secrets, and how each delivery went.",
    "account": "The account, its mailboxes, keys, domains and audit log.",
    "usage": "How much was sent and received.",
    "health": "Whether the gateway works; needs no key.",
}
# The errors that every call can give: what each status means in this API.
_MEANINGS = {
    "400": "The body cannot be read, or the request is invalid.",
    "401": "No key, or an invalid one.",
    "403": "The key may not do this, or a rule forbids it.",
    "404": "Not in this account, or not visible to this key.",
    "409": "The current state does not allow it; `code` says why.",
    "413": "The body is too large.",
    "422": "A field is missing or wrong; `field` names it.",
    "429": "Too many requests; wait for the seconds in `Retry-After`.",
    "503": "The database is not available; try again.",
}


class Document(OpenAPISchema):
    """The OpenAPI document. Describes each call by its docstring, and names the scope
    that its key needs.
    """

    def operation_details(self, operation: Operation) -> Json:
        """Return the description of one call."""
        result: Json = super().operation_details(operation)
        description = str(result.get("description", ""))
        # The docs page shows the summary of a closed row; by default it is the name of
        # the function.
        first, *others = re.split(r"\.\s", description, maxsplit=1)
        result["summary"] = first.rstrip(".").replace("`", "")
        key_sentence = "Needs no key."
        if checks := operation.auth_callbacks:
            key_sentence = "Any key will do."
            if scopes := [str(scope) for scope in getattr(checks[0], "scopes", ())]:
                words = " or ".join(f"`{scope}`" for scope in scopes)
                key_sentence = f"Needs a key with the scope {words}."
                # Which tools of /mcp a key has, follows from this.
                result["x-scopes"] = scopes
        result["description"] = " ".join([*others, key_sentence])
        return result

    def responses(self, operation: Operation) -> dict[int, Any]:
        """Return the answers of one call by status: its own, and the errors that every
        call can give.
        """
        result: dict[int, Any] = super().responses(operation)
        # Not declared on the routes: that would make one model per status and route, 25
        # MB in all.
        problem = {
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
        }
        return result | {
            int(status): {"description": meaning, **problem}
            for status, meaning in _MEANINGS.items()
        }

    def operation_security(self, operation: Operation) -> list[Json] | None:
        """Return how a call can send its key: in the header Authorization, or in
        X-API-Key, which BearerKey reads too.
        """
        schemes: list[Json] | None = super().operation_security(operation)
        return schemes and [*schemes, {"HeaderKey": []}]

    def get_components(self) -> Json:
        """Return the schemas and ways to sign in that the calls refer to."""
        result: Json = super().get_components()
        header = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        result["securitySchemes"]["HeaderKey"] = header
        result["schemas"]["Problem"] = Problem.model_json_schema()
        return result


class Docs(Swagger):
    """The docs page, rendered without the desk's context processors."""

    def render_page(
        self, request: HttpRequest, api: NinjaAPI, **kwargs: Any
    ) -> HttpResponse:
        """Return the docs page."""
        context = {
            "swagger_settings": '{"layout": "BaseLayout", "url": "/openapi.json"}',
            "api": api,
        }
        # An engine of its own: Django's default engine would import the desk's template
        # tags, whose models are not installed here.
        engine = Engine(
            app_dirs=True, libraries={"static": "django.templatetags.static"}
        )
        page = HttpResponse(engine.get_template(self.template).render(Context(context)))
        page["Content-Security-Policy"] = (
            "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; frame-ancestors 'none'"
        )
        return page


class GatewayAPI(NinjaAPI):
    """The API. Its OpenAPI document is made once per process: making it takes a tenth
    of a second, and it does not change.
    """

    @cached_property
    def _document(self) -> OpenAPISchema:
        return Document(self, path_prefix="")

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """Return the OpenAPI document, made once."""
        return self._document

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the id of an operation, from its tags and the handler's name. It stays
        the same if the handler moves to another module.
        """
        return "_".join([*(operation.tags or ()), operation.view_func.__name__])


api = GatewayAPI(
    title="Countersign Gateway",
    # The version of MultiMail's API that this is, not of Countersign.
    version="2.0.0",
    description=ABOUT,
    openapi_extra={
        "tags": [{"name": name, "description": text} for name, text in GROUPS.items()]
    },
    parser=StrictParser(),
    docs=Docs(),
    urls_namespace="gateway",
)


def _as_json(view: Callable[..., Any]) -> Callable[..., Any]:
    """Send a dictionary that a handler returns as JSON, without validation by Ninja:
    our own code made it.
    """

    @wraps(view)
    def handler(*args: Any, **options: Any) -> HttpResponseBase:
        result = view(*args, **options)
        return JsonResponse(result) if isinstance(result, dict) else result

    return handler


api.add_decorator(_as_json)
for module in (
    sending,
    messages,
    oversight,
    other_paths,
    allowlists,
    accounts,
    mailboxes,
    recipients,
    webhooks,
):
    api.add_router("/v1", module.router)
api.add_router("/v1", flat_router(listed=True))
api.add_router("", flat_router(listed=False))
api.add_router("", callers.router)


# Monitors often use HEAD.
@api.api_operation(["HEAD"], "/health", include_in_schema=False)
@api.get("/health", response=Health, tags=["health"])
def health(request: HttpRequest) -> HttpResponse:
    """Whether the gateway can work."""
    state = "away"
    with suppress(DatabaseError):
        state = "read-only" if is_read_only() else ""
    software = {"software": "countersign-gateway"}
    if state:
        return JsonResponse(
            {"status": "degraded", **software, "database": state}, status=503
        )
    return JsonResponse({"status": "ok", **software})


@api.get("/.well-known/multimail-signing-key", tags=["health"])
def signing_key(request: HttpRequest) -> HttpResponse:
    """Return the public key of the header X-MultiMail-Identity, as a JSON Web Key."""
    return JsonResponse(content.public_key())


@api.get("/.well-known/agent/{address}", tags=["health"])
def read_identity(request: HttpRequest, address: str) -> Json:
    """Tell who operates the agent with this address, and how its mail is reviewed.

    Whoever gets mail from it reads the same in the header X-MultiMail-Identity.
    """
    mailbox = mailbox_for(address)
    if not mailbox:
        raise NotFound("No agent here has this address.", code="unknown_mailbox")
    domain = domain_of(mailbox.address)
    proved = mailbox.account.domains.filter(status="active", domain=domain)
    can_send = mailbox.oversight_mode != Mode.READ_ONLY
    return {
        "address": mailbox.address,
        "operator": mailbox.account.name,
        "operator_verified": proved.exists(),
        "oversight_mode": mailbox.oversight_mode,
        "capabilities": ["receive"] + ["send"] * can_send,
    }


@api.exception_handler(GatewayError)
def _problem(request: HttpRequest, error: GatewayError) -> JsonResponse:
    response = JsonResponse(error.body(), status=error.status)
    if error.retry_after is not None:
        # A plain number of seconds: the SDK cannot read a date here.
        response["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response["WWW-Authenticate"] = (
            f'Bearer resource_metadata="{settings.GATEWAY_PUBLIC_URL}{METADATA}"'
        )
    return response


@api.exception_handler(AuthenticationError)
def _on_no_key(request: HttpRequest, error: AuthenticationError) -> JsonResponse:
    return _problem(
        request,
        InvalidKey(
            "No API key was given. Send it as `Authorization: Bearer <key>`.",
            code="no_key",
        ),
    )


@api.exception_handler(ValidationError)
def _on_invalid(request: HttpRequest, error: ValidationError) -> JsonResponse:
    first = error.errors[0]
    # The location is such as ("body", "body", "to", 0): the part of the request, the
    # parameter of the handler, and then the field.
    path = [str(part) for part in first["loc"][1:]]
    if path[:1] in (["body"], ["filters"]):
        path = path[1:]
    sentence = sentence_of(first)
    if path:
        field = ".".join(path)
        sentence = f"{field}: {sentence}"
    elif first["type"] == "missing":
        field = ""
        sentence = "The request needs a JSON object as its body."
    else:
        # A validator of several fields begins its sentence with the field that is
        # wrong.
        named, colon, _ = sentence.partition(": ")
        field = named if colon else ""
    key: ApiKey | None = getattr(request, "auth", None)
    if first["type"] == INJECTION and key:
        # The entry does not hold the text that was tried.
        auditing.record("header_injection.refused", key, key, field=field)
    code = "unknown_field" if first["type"] == "extra_forbidden" else ""
    return _problem(request, Invalid(sentence, field=field, code=code))


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> JsonResponse:
    # Ninja answers 400 for any error of the parser; this is the error itself.
    if isinstance(error.__cause__, GatewayError):
        return _problem(request, error.__cause__)
    return problem(error.status_code, str(error) or "The request failed.", "failed")


def _on_database_error(request: HttpRequest, error: Any) -> HttpResponse:
    if not is_away(error):
        return _on_bug(request, error)
    log.error("database away", extra={"reason": type(error).__name__})
    why = "The database cannot be reached."
    if is_disk_full_error(error):
        why = "The gateway's disk is full."
    elif is_read_only_error(error):
        why = "The database takes no changes at the moment."
    return _problem(
        request,
        Unavailable(f"{why} Try again; with an idempotency_key nothing is sent twice."),
    )


for _away in AWAY:
    api.add_exception_handler(_away, _on_database_error)


@api.exception_handler(Exception)
def _on_bug(request: HttpRequest, error: Exception) -> HttpResponse:
    log.exception("request failed")
    return failed(request, status=500)
