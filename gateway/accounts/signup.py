"""Accounts that people make for themselves, where the operator set GATEWAY_SIGNUP_DOMAIN.

Whoever confirms the mailed code gets a mailbox under that domain and one key, which reads and sends; keys that
approve are made by the operator. Before asking, a machine solves an ALTCHA challenge (https://altcha.org/docs/v2/):
find the number with which SHA-256 of salt and number is the challenge. Challenges are not stored until they are
solved.
"""

import hashlib
import hmac
import logging
import re
import secrets
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.text import slugify

from common.enqueue import enqueue
from common.smtp import Server
from gateway import auditing, smtp
from gateway.accounts.keys import new_key_text, register_key
from gateway.accounts.mailboxes import make_mailbox
from gateway.domains.dkim import signed
from gateway.errors import BadRequest, Conflict, NotFound
from gateway.models import Account, Mailbox, Signup
from gateway.models.accounts import Scope
from gateway.models.codes import ALPHABET
from gateway.states import Mode, stricter

log = logging.getLogger(__name__)

LIFETIME = timedelta(hours=24)
RESEND_AFTER = timedelta(minutes=5)
_MAIL = "gateway.tasks.mail_signup_code"
MAX_NUMBER = 100_000
CHALLENGE_LIFETIME = timedelta(minutes=5)
# The `&` ends the time: otherwise digits of the number could be moved into it under the same hash.
_EXPIRES = re.compile(r"\?expires=(\d{1,12})&$")


def request_signup(*, challenge: str, wanted: Signup, now: datetime) -> None:
    """Store a request and mail its code; the answer does not reveal whether the address has an account.

    Raises Conflict for a name that is taken, BadRequest for a challenge that was used.
    """
    wanted.slug = _slug(wanted.slug or wanted.operator_name)
    if is_taken(wanted.slug):
        free = [name for name in (f"{wanted.slug}-{n}" for n in range(2, 9)) if not is_taken(name)]
        raise Conflict(f"slug: {wanted.slug} is taken.", code="slug_taken", field="slug", suggestions=free[:3])
    lately = Q(mailed_at=None) | Q(mailed_at__gt=now - RESEND_AFTER)
    if _open_signups(wanted.oversight_email, now).filter(lately).exists():
        # Asking repeatedly must not flood a mailbox.
        return
    wanted.challenge, wanted.expires_at = challenge, now + LIFETIME
    wanted.oversight_mode = stricter(Mode(wanted.oversight_mode), Mode.GATED_SEND)
    wanted.code_sha256 = _hash(_code(wanted))
    try:
        with transaction.atomic():
            wanted.save(force_insert=True)
            enqueue(_MAIL, wanted.pk)
    except IntegrityError:
        raise BadRequest("pow_solution: this challenge was already used. Request a new one.", code="used") from None
    log.info("sign-up asked for", extra={"signup": wanted.pk})


def resend_code(*, oversight_email: str, now: datetime) -> None:
    """Mail another code for an open request; the earlier one ends."""
    with transaction.atomic():
        signup = _open_signups(oversight_email, now).select_for_update().order_by("-id").first()
        if signup is None or (signup.mailed_at and now - signup.mailed_at < RESEND_AFTER):
            return
        signup.codes += 1
        signup.code_sha256, signup.mailed_at, signup.tries = _hash(_code(signup)), None, 0
        signup.save(update_fields=["codes", "code_sha256", "mailed_at", "tries"])
        enqueue(_MAIL, signup.pk)


def confirm(*, code: str, now: datetime) -> tuple[Signup, Mailbox, str]:
    """Make the account whose code this is; return the request, the mailbox and the key. Raises NotFound, Conflict."""
    with transaction.atomic():
        waiting = Signup.objects.select_for_update().filter(confirmed_at=None, expires_at__gt=now)
        signup = waiting.filter(code_sha256=_hash(code)).first()
        if signup is None:
            raise NotFound("No sign-up matches this code. A code works once, within 24 hours.", code="unknown_code")
        signup.save_fields(confirmed_at=now)
        account = _make_account(signup)
        address = f"agent@{signup.slug}.{settings.GATEWAY_SIGNUP_DOMAIN}"
        mode = Mode(signup.oversight_mode)
        mailbox = make_mailbox(account=account, address=address, display_name=signup.operator_name, mode=mode)
        if mailbox.account_id != account.pk:
            raise _slug_conflict(signup)
        text = new_key_text()
        scopes = [str(Scope.READ), str(Scope.SEND)]
        register_key(account=account, name="First key", scopes=scopes, text=text)
        auditing.record("account.signed_up", account)
    return signup, mailbox, text


def _make_account(signup: Signup) -> Account:
    try:
        with transaction.atomic():
            return Account.objects.create(
                name=signup.operator_name,
                slug=signup.slug,
                oversight_email=signup.oversight_email,
                physical_address=signup.physical_address,
            )
    except IntegrityError:
        raise _slug_conflict(signup) from None


def _slug_conflict(signup: Signup) -> Conflict:
    return Conflict(f"The name {signup.slug} has been taken in the meantime. Sign up again.", code="slug_taken")


def _open_signups(oversight_email: str, now: datetime) -> QuerySet[Signup]:
    return Signup.objects.filter(oversight_email__iexact=oversight_email, confirmed_at=None, expires_at__gt=now)


def mail_code(*, signup_id: str) -> str:
    """Send the code; a temporary refusal is retried with growing delays."""
    signup = Signup.objects.filter(pk=signup_id, mailed_at=None, confirmed_at=None).first()
    if signup is None or not settings.EMAIL_URL:
        return "nothing to mail"
    sender = f"accounts@{settings.GATEWAY_SIGNUP_DOMAIN}"

    def is_mine() -> bool:
        mine = Signup.objects.filter(pk=signup.pk, mailed_at=None, codes=signup.codes)
        return bool(mine.update(mailed_at=timezone.now()))

    try:
        smtp.hand_over(
            server=Server.from_url(settings.EMAIL_URL),
            sender=sender,
            recipients=[signup.oversight_email],
            message=signed(_code_message(signup, sender), sender=sender),
            accept_partial=True,
            before_message=is_mine,
        )
    except smtp.HandoverFailed as error:
        log.warning("sign-up code not mailed", extra={"signup": signup.pk, "permanent": error.permanent})
        if error.permanent:
            signup.delete()
            return "not deliverable"
        wait = timedelta(seconds=min(3600, 10 * 2**signup.tries))
        later = {"mailed_at": None, "tries": signup.tries + 1, "next_try_at": timezone.now() + wait}
        Signup.objects.filter(pk=signup.pk, codes=signup.codes).update(**later)
        return "not mailed"
    except (smtp.FateUnknown, smtp.LeaseLost) as error:
        log.warning("sign-up code perhaps not mailed", extra={"signup": signup.pk, "reason": type(error).__name__})
        return "unknown"
    return "mailed"


def enqueue_unmailed(now: datetime) -> int:
    """Enqueue codes that were not mailed yet, and delete expired requests."""
    Signup.objects.filter(confirmed_at=None, expires_at__lt=now).delete()
    unmailed = Signup.objects.filter(mailed_at=None, confirmed_at=None, next_try_at__lt=now)
    due = list(unmailed.order_by("next_try_at").values_list("pk", flat=True)[:20])
    for signup_id in due:
        enqueue(_MAIL, signup_id)
    return len(due)


def _code_message(signup: Signup, sender: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = sender, signup.oversight_email
    message["Subject"] = f"Your code for {signup.operator_name}: {_code(signup)}"
    message["Date"], message["Message-ID"] = format_datetime(signup.created_at), make_msgid(domain=sender.split("@")[1])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"An agent asked for an email account for {signup.operator_name}.\n\n"
        f"If you want this, give it this code: {_code(signup)}\n\n"
        "The code works once, within 24 hours. Without it nothing happens.\n"
    )
    return message.as_bytes()


def _code(signup: Signup) -> str:
    """Return the code of a request, such as SKP-7D2-4V8."""
    drawn = salted_hmac("gateway.signup.code", f"{signup.pk}:{signup.codes}", algorithm="sha256").digest()
    characters = "".join(ALPHABET[byte % len(ALPHABET)] for byte in drawn[:9])
    return f"{characters[:3]}-{characters[3:6]}-{characters[6:]}"


def _hash(code: str) -> str:
    plain = "".join(character for character in code.upper() if character.isalnum())
    return hashlib.sha256(plain.encode()).hexdigest()


def _slug(name: str) -> str:
    slug = slugify(name.replace("_", "-"))[:40].strip("-")
    if not slug:
        raise BadRequest("slug: the name needs letters or digits.", field="slug")
    return slug


def is_taken(slug: str) -> bool:
    """Whether an account has this name."""
    return Account.objects.filter(slug=slug).exists()


def new_challenge(*, now: datetime) -> dict[str, Any]:
    """Return a challenge, as clients get it."""
    salt = f"{secrets.token_hex(12)}?expires={int((now + CHALLENGE_LIFETIME).timestamp())}&"
    challenge = _digest(salt, secrets.randbelow(MAX_NUMBER + 1))
    return {
        "algorithm": "SHA-256",
        "challenge": challenge,
        "maxnumber": MAX_NUMBER,
        "salt": salt,
        "signature": _signature(challenge),
    }


def check_solution(*, challenge: str, number: int, salt: str, signature: str, now: datetime) -> None:
    """Check a solved challenge. Raises BadRequest."""
    ours = hmac.compare_digest(_signature(challenge), signature) and _digest(salt, number) == challenge
    expires = _EXPIRES.search(salt)
    if not ours or expires is None:
        raise BadRequest(
            "pow_solution: this does not solve a challenge of this gateway. Request a new one.", code="wrong_solution"
        )
    if int(expires[1]) < now.timestamp():
        raise BadRequest("pow_solution: the challenge is over five minutes old. Request a new one.", code="expired")


def _digest(salt: str, number: int) -> str:
    return hashlib.sha256(f"{salt}{number}".encode()).hexdigest()


def _signature(challenge: str) -> str:
    return salted_hmac("gateway.signup", challenge, algorithm="sha256").hexdigest()
