"""The kinds of changes that wait for a second admin, and how each is carried out.

A kind is added here and defined beside its command. The names are texts because most commands are in apps that import
this one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.module_loading import import_string

from people.actors import Actor

KINDS: Mapping[str, str] = {
    "role": "people.roles.grants.ROLE_CHANGE",
    "reactivation": "people.directory.deactivation.REACTIVATION",
    "invitation": "people.invitations.links.INVITATION",
    "second_factor": "people.sign_in.factors.ROLE_RULE_CHANGE",
    "factors": "people.sign_in.factors.FACTORS_REMOVAL",
    "second_admin": "people.second_admin.setting.SWITCH_OFF",
    "allowlist": "policy.allowlists.changes.LIST_CHANGE",
    "allowed_address": "policy.allowlists.changes.ADDRESS_CHANGE",
    "kill_switch": "policy.kill_switch.RELEASE",
    "policy": "policy.rules.changes.ACTIVATION",
    "group": "policy.rules.groups.MEMBERS",
    "calendar": "policy.plans.commands.CALENDAR_CHANGE",
    "caps": "approvals.brake.commands.CAPS_CHANGE",
    "mailbox_mode": "connections.mailboxes.commands.MODE_CHANGE",
    "mailbox_settings": "connections.mailboxes.commands.SETTINGS_CHANGE",
    "mailbox_desk": "connections.mailboxes.commands.DESK_CHANGE",
    "standing": "approvals.standing.signing.SIGNING",
    "standing_switch": "approvals.standing.signing.SWITCH_ON",
    "hold_all": "connections.kill_switch.hold_all.ENDING",
    "key_owner": "connections.keys.commands.OWNER_CHANGE",
    "key_scopes": "connections.keys.commands.SCOPES_CHANGE",
    "fingerprint": "connections.accounts.fingerprints.FINGERPRINT_CHANGE",
    "points": "approvals.risk_rules.weighing.POINTS_CHANGE",
    "own_word": "approvals.risk_rules.own_words.WORD_CHANGE",
    "person_figures": "people.second_admin.person_figures.FIGURES_CHANGE",
    "practice": "approvals.practice.setting.PRACTICE_CHANGE",
    "oversight_minimum": "connections.mailboxes.minimum.MINIMUM_CHANGE",
}


@dataclass(frozen=True)
class ChangeKind:
    """How a change is carried out once it was accepted.

    `apply` runs the command with the stored arguments, as the person who asked, and returns what the command does.
    `refusals` are the command's errors, each with a `sentence`: the change is no longer possible. After one of
    `unfinished` it can be accepted again. One that `calls_multimail` is carried out outside of a transaction.
    """

    words: str
    apply: Callable[[dict[str, Any], Actor, str], object]
    refusals: tuple[type[Exception], ...]
    unfinished: tuple[type[Exception], ...] = ()
    calls_multimail: bool = False


def kind_named(name: str) -> ChangeKind:
    """Return the kind of this name. Raises KeyError."""
    found: ChangeKind = import_string(KINDS[name])
    return found
