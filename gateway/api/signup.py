"""Signing up for an account without any key, where the operator allows it."""

from typing import Annotated, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from pydantic import Field
from pydantic.config import JsonDict

from common.addresses import client_address
from gateway import limits
from gateway.accounts import signup
from gateway.accounts.signup import check_solution, new_challenge
from gateway.api.accounts import router
from gateway.api.answers import Answer, answer
from gateway.api.bodies import Address, Body, Line, MailboxName, ModeWord, Sha256, ShortText, example
from gateway.errors import GatewayError, TooManyRequests
from gateway.models import Signup
from gateway.states import Mode

_WISH: JsonDict = {
    "operator_name": "Acme",
    "oversight_email": "a@acme.example",
    "accepted_tos": True,
    "accepted_operator_agreement": True,
    "accepted_anti_spam_policy": True,
    "pow_solution": {"challenge": "0" * 64, "number": 4711, "salt": "9f?expires=1", "signature": "0" * 64},
}
CLOSED = {"responses": {501: {"description": "Accounts are created by the operator."}}}


class ChallengeIn(Body):
    """Whom the account will be for; it changes nothing here."""

    model_config = example({"oversight_email": "a@acme.example"})

    oversight_email: MailboxName = ""


class Solution(Body):
    """A solved challenge, sent back as it came with the number that solves it."""

    algorithm: Literal["SHA-256"] = "SHA-256"
    challenge: Sha256
    number: Annotated[int, Field(ge=0, le=10**9)]
    salt: ShortText
    signature: Sha256


class SignupIn(Body):
    """A request for an account."""

    model_config = example(_WISH)

    # It stands in the mail with the code, which may go to a stranger: no place for an advertisement.
    operator_name: Annotated[Line, Field(min_length=1, max_length=80, pattern=r"^[^:/@]*$")]
    oversight_email: Address
    accepted_tos: Literal[True]
    accepted_operator_agreement: Literal[True]
    accepted_anti_spam_policy: Literal[True]
    pow_solution: Solution
    slug: Annotated[str, Field(max_length=60)] = ""
    physical_address: Annotated[str, Field(max_length=300)] = ""
    use_case: ShortText = ""
    oversight_mode: ModeWord | None = None


class ConfirmSignupIn(Body):
    """The code that was mailed."""

    model_config = example({"code": "SKP-7D2-4V8"})

    code: Annotated[str, Field(min_length=1, max_length=40)]


class ResendIn(Body):
    """To whom the code was mailed."""

    model_config = example({"oversight_email": "a@acme.example"})

    oversight_email: Annotated[str, Field(min_length=3, max_length=320)]


class Challenge(Answer):
    """Work to do: the number up to `maxnumber` that, written behind `salt`, has the SHA-256 `challenge`."""

    algorithm: str
    challenge: str
    maxnumber: int
    salt: str
    signature: str


class SignupRequested(Answer):
    """That a code was mailed, or would have been."""

    status: str


class AccountMade(Answer):
    """The account, and its one key, which is shown once."""

    status: str
    name: str
    slug: str
    api_key: str
    mailbox_id: str
    mailbox_address: str
    oversight_mode: str
    oversight_email: str
    use_case: str


class SlugAvailability(Answer):
    """Whether a name is free."""

    slug: str
    available: bool


# Of one address, within an hour: guesses at a code, and requests for an account.
_MOST_CODES, _MOST_WISHES = 5, 20


class NoSignup(GatewayError):
    """Nobody makes an account for themselves here."""

    status = 501
    code = "not_implemented"


@router.post("/account/challenge", auth=None, response=Challenge, openapi_extra=CLOSED)
def request_challenge(request: HttpRequest, body: ChallengeIn = ChallengeIn()) -> HttpResponse:  # noqa: B008
    """Ask for the work to do before an account can be asked for."""
    _check_open()
    return answer(new_challenge(now=timezone.now()))


@router.post("/account", auth=None, response={202: SignupRequested}, openapi_extra=CLOSED)
def sign_up(request: HttpRequest, body: SignupIn) -> HttpResponse:
    """Ask for an account. A code goes to `oversight_email`; the answer does not tell whether there is one already."""
    _check_open()
    _check_rate(request, "wishes", _MOST_WISHES)
    now, solution = timezone.now(), body.pow_solution
    check_solution(**solution.model_dump(exclude={"algorithm"}), now=now)
    wanted = Signup(
        operator_name=body.operator_name,
        oversight_email=body.oversight_email,
        slug=body.slug,
        oversight_mode=body.oversight_mode or Mode.GATED_SEND,
        physical_address=body.physical_address,
        use_case=body.use_case,
    )
    signup.request_signup(challenge=solution.challenge, wanted=wanted, now=now)
    return answer({"status": "confirmation_sent"}, status=202)


@router.post("/confirm", auth=None, response=AccountMade, openapi_extra=CLOSED)
def confirm(request: HttpRequest, body: ConfirmSignupIn) -> HttpResponse:
    """Make the account whose code this is. The key's text is in this answer and nowhere else."""
    _check_open()
    _check_rate(request, "codes", _MOST_CODES)
    confirmed, mailbox, text = signup.confirm(code=body.code, now=timezone.now())
    return answer(
        {
            "status": "active",
            "name": mailbox.account.name,
            "slug": mailbox.account.slug,
            "api_key": text,
            "mailbox_id": mailbox.pk,
            "mailbox_address": mailbox.address,
            "oversight_mode": mailbox.oversight_mode,
            "oversight_email": mailbox.account.oversight_email,
            "use_case": confirmed.use_case,
        }
    )


@router.post("/account/resend-confirmation", auth=None, response=SignupRequested, openapi_extra=CLOSED)
def resend(request: HttpRequest, body: ResendIn) -> HttpResponse:
    """Mail another code; the answer does not tell whether anybody waits for one."""
    _check_open()
    _check_rate(request, "codes", _MOST_CODES)
    signup.resend_code(oversight_email=body.oversight_email, now=timezone.now())
    return answer({"status": "confirmation_resent"})


@router.get("/slug-check/{slug}", auth=None, response=SlugAvailability, openapi_extra=CLOSED)
def check_slug(request: HttpRequest, slug: str) -> HttpResponse:
    """Say whether a name is free."""
    _check_open()
    return answer({"slug": slug, "available": not signup.is_taken(slug.lower())})


def _check_open() -> None:
    if not settings.GATEWAY_SIGNUP_DOMAIN:
        raise NoSignup(
            "Accounts of this gateway are created by its operator: ./run manage gateway_account --name ... creates one "
            "with its keys. With GATEWAY_SIGNUP_DOMAIN set, people can sign up."
        )


def _check_rate(request: HttpRequest, what: str, most: int) -> None:
    if limits.within_hour(f"{what}:{client_address(request)}") > most:
        raise TooManyRequests(f"Only {most} such requests per hour are accepted from one address.", retry_after=3600)
