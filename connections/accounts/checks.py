"""Asks MultiMail for what the pages of a connection need: whether keys work, and its webhook. Ten seconds at most."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connections.accounts import changing
from connections.accounts.key_slots import SLOTS, Slot, problem_in
from connections.calls import CHANGE_SECONDS
from mirror.models import Connection
from people.actors import Actor
from upstream import errors, hosts
from upstream.admin import AdminClient

ANOTHER_ACCOUNT = (
    "This key is of another account than the connection. Put in one of the same account, or connect the other as well."
)


@dataclass(frozen=True)
class KeyCheck:
    """What MultiMail said of a key. `scopes` is None where it does not tell; `problem` says what to do.

    `is_certain`: MultiMail itself said so, rather than nothing at all.
    """

    scopes: list[str] | None = None
    problem: str = ""
    is_certain: bool = True
    # The account that it is of; empty where MultiMail does not tell.
    account: str = ""


def address_problem(api_url: str) -> str:
    """Return why the desk may not look for MultiMail there; nothing where it may."""
    try:
        return hosts.problem_of(api_url)
    except ValueError:
        return "That is not an address. It begins with https:// and has no path."


def check_key(*, api_url: str, key: str, slot: Slot, account: str = "", within: float = CHANGE_SECONDS) -> KeyCheck:
    """Ask MultiMail about one key, and say whether it belongs into this slot of a connection to this account."""
    check = _asked(api_url, key, slot, within)
    is_foreign = not check.problem and account and check.account and check.account != account
    return replace(check, problem=ANOTHER_ACCOUNT) if is_foreign else check


def _asked(api_url: str, key: str, slot: Slot, within: float) -> KeyCheck:
    ends = time.monotonic() + within
    try:
        account = AdminClient(base_url=api_url, key=key, within=within).account(within=within)
        found = account.get("scopes")
        scopes = [str(one)[:40] for one in found[:20]] if isinstance(found, list) else None
        if scopes is not None or slot.name != "oversight":
            return KeyCheck(scopes, problem_in(slot, scopes), account=str(account.get("id") or "")[:200])
    except errors.Forbidden:
        if slot.name != "oversight":
            return KeyCheck(None, problem_in(slot, None))
    except errors.UpstreamError as error:
        return _failed(error, api_url)
    # It does not tell of the account: whether it oversees shows from what only such a key may ask.
    try:
        left = max(ends - time.monotonic(), 0.5)
        AdminClient(base_url=api_url, key=key, within=left).ask("GET", "/v1/oversight/pending")
    except errors.Forbidden:
        return KeyCheck([], "This key may not see what is held. Make a key with the scope oversight, and put that in.")
    except errors.UpstreamError as error:
        return _failed(error, api_url)
    return KeyCheck(None)


def check_all(*, api_url: str, keys: Mapping[str, str], account: str = "") -> dict[str, KeyCheck]:
    """Ask about each key by slot, the oversight key first, in the time of one change together.

    Once MultiMail did not answer, the others are not asked.
    """
    ends, checks = time.monotonic() + CHANGE_SECONDS, dict[str, KeyCheck]()
    for name, slot in SLOTS.items():
        if not keys.get(name):
            continue
        left = ends - time.monotonic()
        if left < 0.5 or any(not check.is_certain for check in checks.values()):
            checks[name] = KeyCheck(
                None, "It was not asked about: MultiMail had not answered before.", is_certain=False
            )
            continue
        checks[name] = check_key(api_url=api_url, key=keys[name], slot=slot, account=account, within=left)
        account = account or checks[name].account
    return checks


def check_address(*, connection: Connection, api_url: str) -> tuple[str, str]:
    """Ask at another address whether this connection's account answers there with all of its keys.

    Returns what is wrong as a sentence, empty where nothing is, and MultiMail's id of the account.
    """
    if not connection.is_our_gateway:
        return "Only a gateway moves. Connect an account at another MultiMail as a connection of its own.", ""
    keys = {name: getattr(connection, slot.field) for name, slot in SLOTS.items()}
    checks = check_all(api_url=api_url, keys=keys, account=connection.account_id)
    account = checks["oversight"].account
    for name, check in checks.items():
        if check.problem:
            of_another = "Another account answers there with this key." if check.problem == ANOTHER_ACCOUNT else ""
            return f"{SLOTS[name].label} key: {of_another or check.problem}", ""
    if not account or not connection.account_id:
        where = "there" if not account else "where it is now: press Check again at its keys, while it answers there"
        return f"MultiMail does not tell {where} which account it is, so nobody can say that it is the same.", ""
    return "", account


def check_again(*, connection: Connection, actor: Actor) -> dict[str, KeyCheck]:
    """Ask about the keys of a connection and write down what came of it. Raises ActNotAllowed."""
    keys = {name: getattr(connection, slot.field) for name, slot in SLOTS.items()}
    checks = check_all(api_url=connection.api_url, keys=keys, account=connection.account_id)
    told = {name: check.scopes for name, check in checks.items() if check.is_certain}
    problems = " ".join(f"{SLOTS[name].label}: {check.problem}" for name, check in checks.items() if check.problem)
    changing.note_checked(
        connection=connection,
        scopes=told,
        account=checks["oversight"].account,
        problems=problems or "All is well.",
        actor=actor,
    )
    return checks


def _failed(error: errors.UpstreamError, api_url: str) -> KeyCheck:
    """Say what to do about a call that failed."""
    if isinstance(error, errors.KeyRefused):
        sentence = (
            "MultiMail does not take this key. Copy it once more, whole; a key that was revoked never works again."
        )
        return KeyCheck([], sentence)
    if isinstance(error, errors.Throttled):
        wait = f"{error.retry_after:.0f}"
        return KeyCheck(None, f"MultiMail asks to wait {wait} seconds. Try again then.", is_certain=False)
    if isinstance(error, errors.NotSent):
        advice = "See whether the address is right, and whether this machine reaches it."
        return KeyCheck(None, f"{error.sentence} {advice}", is_certain=False)
    if isinstance(error, errors.NotFound) or (error.status is not None and error.status < 500):
        sentence = f"Something answers at {api_url}, but not as MultiMail does. See whether the address is right."
        return KeyCheck(None, sentence, is_certain=False)
    if isinstance(error, errors.OutcomeUnknown) and error.status is None:
        return KeyCheck(None, f"{error.sentence} Try again; if it stays so, see whether the address is right.", False)
    return KeyCheck(None, f"{error.sentence} Try again in a while.", is_certain=False)


def seconds_between(asked_at: datetime, received_at: datetime) -> float:
    """Return how long an event took, never less than nothing."""
    return max((received_at - asked_at) / timedelta(seconds=1), 0.0)
