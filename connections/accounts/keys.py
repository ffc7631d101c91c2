"""The four slots for keys of a connection, and checks whether a key belongs in a slot,
for which MultiMail is asked. A check takes ten seconds at most.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connections.changes import CHANGE_SECONDS, ConnectionNotChanged, text_in
from mirror.models import Connection
from upstream import errors, hosts
from upstream.admin import AdminClient


@dataclass(frozen=True)
class Slot:
    """One of the four places for a key of a connection. Pages show what a key in it
    `turns_on`, and what happens `without` one. `needs` are the scopes that it must
    have.
    """

    name: str
    label: str
    turns_on: str
    without: str
    needs: tuple[str, ...]

    @property
    def field(self) -> str:
        """The connection's attribute that holds the key."""
        return f"{self.name}_key"


SLOTS = {
    slot.name: slot
    for slot in (
        Slot(
            "oversight",
            "Oversight",
            "Reads held mail and sends decisions to MultiMail.",
            "nothing works.",
            ("oversight",),
        ),
        Slot(
            "read",
            "Read",
            "Threads, attachments, and decisions whose outcome is unknown.",
            "threads and files cannot be opened, and unknown outcomes take longer.",
            ("read",),
        ),
        Slot(
            "admin",
            "Admin",
            "Copies allowlists to the gate, registers the webhook, and opens pages of mailboxes, keys and webhooks.",
            "those pages do not work. Mail is reviewed as usual.",
            ("admin",),
        ),
        Slot(
            "agent",
            "Agent",
            "Discord commands that write mail.",
            "nobody can write mail from Discord.",
            ("read", "send"),
        ),
    )
}


def scope_error(slot: Slot, scopes: Sequence[str] | None) -> str:
    """Return why a key with these scopes does not belong in the slot, as a sentence;
    empty if it does.

    None means that MultiMail does not report the key's scopes.
    """
    if scopes is None:
        return ""
    if slot.name == "oversight" and "send" in scopes:
        return (
            "This key may also send mail, so one program could write a message and approve it. Make a key with the "
            "scope oversight alone."
        )
    implied = {"read"} if "admin" in scopes else set()
    if implied.union(scopes).issuperset(slot.needs):
        return ""
    # Each scope, the strongest first, and the slot that a key with it belongs in.
    strongest = {
        "admin": "admin",
        "send": "agent",
        "oversight": "oversight",
        "read": "read",
    }
    fitting = [SLOTS[name] for scope, name in strongest.items() if scope in scopes]
    better = fitting[0] if fitting else slot
    may = ", ".join(scopes) or "nothing"
    here = f"{slot.label} needs a key with the scope{'s' if len(slot.needs) > 1 else ''} {' and '.join(slot.needs)}."
    if better is slot:
        return f"This key may: {may}. {here}"
    article = "an" if better.label[0] in "AO" else "a"
    return f"This is {article} {better.label.lower()} key (it may: {may}); enter it under {better.label}. {here}"


def shown_start(key: str) -> str:
    """Return the part of a key that pages may show: its prefix, such as mm_live; empty
    if it has none.
    """
    return key[:7] if key.startswith(("mm_live_", "mm_test_")) else ""


@dataclass(frozen=True)
class KeyCheck:
    """The result of checking a key. `scopes` is None if MultiMail does not report them.
    `problem` says what is wrong and what to do; empty if the key fits.

    `is_certain`: MultiMail answered, so a `problem` is one of the key, not of the call.
    """

    scopes: list[str] | None = None
    problem: str = ""
    is_certain: bool = True
    # The id of the key's account; empty if MultiMail does not report it.
    account: str = ""


def address_error(api_url: str) -> str:
    """Return why MultiMail may not be called at this address; empty if it may."""
    try:
        return hosts.not_allowed_reason(api_url)
    except ValueError:
        return "This is not a valid address. It begins with https:// and has no path."


def check_key(
    *,
    api_url: str,
    key: str,
    slot: Slot,
    account: str = "",
    within: float = CHANGE_SECONDS,
) -> KeyCheck:
    """Ask MultiMail about one key, and return whether it belongs in this slot of a
    connection to this account.
    """
    ends = time.monotonic() + within
    client = AdminClient(base_url=api_url, key=key, within=within)
    try:
        account_row = client.account(within=within)
        listed = account_row.get("scopes")
        scopes = None
        if isinstance(listed, list):
            scopes = [str(one)[:40] for one in listed[:20]]
        if scopes is not None or slot.name != "oversight":
            problem = scope_error(slot, scopes)
            its_account = text_in(account_row, "id", most=200)
            if not problem and account and its_account not in ("", account):
                problem = (
                    "This key is of another account. Enter a key of the connection's "
                    "account, or add the other account as a connection."
                )
            return KeyCheck(scopes, problem, account=its_account)
    except errors.Forbidden:
        if slot.name != "oversight":
            return KeyCheck()
    except errors.UpstreamError as error:
        return _failed(error, api_url)
    # MultiMail did not say what the key may do. A call that only oversight keys may
    # make shows whether it is one.
    left = max(ends - time.monotonic(), 0.5)
    client = AdminClient(base_url=api_url, key=key, within=left)
    try:
        client.ask("GET", "/v1/oversight/pending")
    except errors.Forbidden:
        return KeyCheck(
            [],
            "This key may not see held messages. Enter one with the scope oversight.",
        )
    except errors.UpstreamError as error:
        # A list that is too long is a list: the key may see held messages.
        if not isinstance(error, errors.TooLarge) or error.status != 200:
            return _failed(error, api_url)
    return KeyCheck()


def check_all(
    *, api_url: str, keys: Mapping[str, str], account: str = ""
) -> dict[str, KeyCheck]:
    """Check these keys, and return the results by slot. The oversight key is checked
    first. All calls share the time limit of one change.

    If MultiMail does not answer for one key, the others are not checked.
    """
    ends = time.monotonic() + CHANGE_SECONDS
    checks = dict[str, KeyCheck]()
    for name, slot in SLOTS.items():
        if not keys.get(name):
            continue
        left = ends - time.monotonic()
        if left < 0.5 or any(not check.is_certain for check in checks.values()):
            why = "Not checked, because MultiMail had not answered before."
            checks[name] = KeyCheck(None, why, is_certain=False)
            continue
        checks[name] = check_key(
            api_url=api_url, key=keys[name], slot=slot, account=account, within=left
        )
        account = account or checks[name].account
    return checks


def check_address(*, connection: Connection, api_url: str) -> str:
    """Check that the connection's account answers at another address to all of its
    keys. Return the account's id.

    Raises ConnectionNotChanged if it does not, or if that cannot be determined.
    """
    if not connection.is_our_gateway:
        raise ConnectionNotChanged(
            "Only a gateway's address can change. For another MultiMail, add a connection."
        )
    checks = check_all(
        api_url=api_url, keys=connection.keys, account=connection.account_id
    )
    for name, check in checks.items():
        problem = check.problem
        if problem and check.account not in ("", connection.account_id):
            problem = "This key belongs to a different account there."
        if problem and not check.is_certain:
            # MultiMail did not answer, so nothing is wrong with this key.
            raise ConnectionNotChanged(problem)
        if problem:
            raise ConnectionNotChanged(f"{SLOTS[name].label} key: {problem}")
    account = checks["oversight"].account
    if not (account and connection.account_id):
        raise ConnectionNotChanged(
            "Which account this is at the two addresses is not known. Enter the oversight key again while the gateway "
            "answers at the present one, then change the address."
        )
    return account


def _failed(error: errors.UpstreamError, api_url: str) -> KeyCheck:
    """Return the result of a check whose call failed: the reason, and what to do."""
    if isinstance(error, errors.KeyRefused):
        return KeyCheck(
            [],
            "MultiMail does not accept this key. Copy the whole key again; revoked keys never work again.",
        )
    sentence = error.sentence
    advice = "Try again later."
    if isinstance(error, errors.Throttled):
        sentence = f"MultiMail asks to wait {error.retry_after:.0f} seconds."
        advice = "Then try again."
    elif isinstance(error, errors.NotSent):
        advice = "Check the address, and that this server can reach it."
    elif (error.status or 500) < 500:
        sentence = f"The answer at {api_url} did not come from MultiMail."
        advice = "Check the address."
    elif error.status is None:
        advice = "Try again. If this continues, check the address."
    return KeyCheck(None, f"{sentence} {advice}", is_certain=False)
