"""Making an account by oneself, where the operator allows it; without any key."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from common.addresses import client_address
from gateway import counters, signup
from gateway.answers.base import answer, documented
from gateway.answers.signup import AccountMade, Challenge, SignupRequested, SlugAvailability

# One router for both: a path belongs to one router, and POST on the account is the sign-up.
from gateway.api.accounts import router
from gateway.errors import GatewayError, TooManyRequests
from gateway.models import Account, Signup
from gateway.modes import Mode
from gateway.schemas.signup import ChallengeIn, ConfirmSignupIn, ResendIn, SignupIn
from gateway.signup_challenge import check_solution, new_challenge

# Of one address, within an hour: guesses at a code, and wishes for an account.
_MOST_CODES, _MOST_WISHES = 5, 20
CLOSED = {"responses": {501: {"description": "Accounts are made by the operator here."}}}


class NoSignup(GatewayError):
    """Nobody makes an account for themselves here."""

    status = 501
    code = "not_implemented"


@router.post("/account/challenge", auth=None, response=documented(Challenge), openapi_extra=CLOSED)
def request_challenge(request: HttpRequest, body: ChallengeIn = ChallengeIn()) -> HttpResponse:  # noqa: B008
    """Ask for the work to do before an account can be asked for."""
    _check_open()
    return answer(new_challenge(now=timezone.now()))


@router.post("/account", auth=None, response=documented(SignupRequested, status=202), openapi_extra=CLOSED)
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
    signup.ask_for_account(challenge=solution.challenge, wanted=wanted, now=now)
    return answer({"status": "confirmation_sent"}, status=202)


@router.post("/confirm", auth=None, response=documented(AccountMade), openapi_extra=CLOSED)
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


@router.post("/account/resend-confirmation", auth=None, response=documented(SignupRequested), openapi_extra=CLOSED)
def resend(request: HttpRequest, body: ResendIn) -> HttpResponse:
    """Mail another code; the answer does not tell whether anybody waits for one."""
    _check_open()
    _check_rate(request, "codes", _MOST_CODES)
    signup.ask_again(oversight_email=body.oversight_email, now=timezone.now())
    return answer({"status": "confirmation_resent"})


@router.get("/slug-check/{slug}", auth=None, response=documented(SlugAvailability), openapi_extra=CLOSED)
def check_slug(request: HttpRequest, slug: str) -> HttpResponse:
    """Say whether a name is free."""
    _check_open()
    return answer({"slug": slug, "available": not Account.objects.filter(slug=slug.lower()).exists()})


def _check_open() -> None:
    if not settings.GATEWAY_SIGNUP_DOMAIN:
        raise NoSignup(
            "Accounts of this gateway are made by its operator: ./run manage gateway_account --name ... makes one with "
            "its keys. With GATEWAY_SIGNUP_DOMAIN set, people make their own."
        )


def _check_rate(request: HttpRequest, what: str, most: int) -> None:
    if counters.within_hour(f"{what}:{client_address(request)}") > most:
        raise TooManyRequests(f"Only {most} such requests an hour come from one address.", retry_after=3600)
