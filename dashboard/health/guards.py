"""Compares what PostgreSQL does by itself when rows of the desk are read or changed, and
what it refuses, with what the migrations made: some of it protects the ledger, and
somebody who administers the database could add more.
"""

from django.apps import apps

from audit.guards import APPEND_ONLY
from common.postgres import made_in_schema

# As `made_in_schema` returns it after all migrations.
MADE = {
    "constraints of alerts": "91921f099678",
    "constraints of approvals": "4b9677937a32",
    "constraints of audit": "301a1550d6db",
    "constraints of dashboard": "bd42996a2d4f",
    "constraints of gateway": "e888cfb61e16",
    "constraints of mirror": "0ea3deccceb9",
    "constraints of notices": "cd19559a4fd5",
    "constraints of people": "b32eb401690b",
    "constraints of policy": "16d259cf530e",
    "function approvals_begin_review": "df7d654112b4",
    "function approvals_follow_message": "d6e80564489c",
    "function audit_refuse": "b3a601d04e96",
    "function audit_remove_details": "58c9e80503f1",
    "function gateway_forget_fingerprint": "2f4a38cbc2c9",
    "function people_begin_period": "e5943f275f96",
    "function people_end_period": "0bdfa59fb074",
    "function people_note_emptied": "1960b7e59ca2",
    "function people_note_grant": "4532d9cb058a",
    "function people_note_person": "b57aa5c27447",
    "function people_refuse": "8ee5f0983611",
    "function policy_keep_version": "47806ddc6738",
    "trigger audit_anchor_rows on audit_anchor": "911d1b496dfd",
    "trigger audit_anchor_whole on audit_anchor": "305a2a042880",
    "trigger audit_entry_rows on audit_entry": "911d1b496dfd",
    "trigger audit_entry_whole on audit_entry": "305a2a042880",
    "trigger audit_entrydetail_rows on audit_entrydetail": "8f6a592fc7e2",
    "trigger audit_entrydetail_whole on audit_entrydetail": "305a2a042880",
    "trigger audit_seal_rows on audit_seal": "911d1b496dfd",
    "trigger audit_seal_whole on audit_seal": "305a2a042880",
    "trigger audit_sealedentry_rows on audit_sealedentry": "911d1b496dfd",
    "trigger audit_sealedentry_whole on audit_sealedentry": "305a2a042880",
    "trigger gateway_body_written on gateway_email": "0445ec8bafa9",
    "trigger mirror_message_begin_review on mirror_message": "8646ed3f3f19",
    "trigger mirror_message_follow_review on mirror_message": "b631f9526e87",
    "trigger people_grant_emptied on people_grant": "6719b0b483d8",
    "trigger people_grant_noted on people_grant": "694209219deb",
    "trigger people_grantperiod_rows on people_grantperiod": "5e83ffe20c9f",
    "trigger people_grantperiod_whole on people_grantperiod": "62a49eeb0eee",
    "trigger people_person_noted on people_person": "42713ffaf63d",
    "trigger policy_version_stays on policy_policyversion": "8a9241925747",
}


def differences() -> list[str]:
    """Return the names of what is missing, was changed or was added."""
    found = {
        name: digest
        for name, digest in made_in_schema(APPEND_ONLY).items()
        # Others may keep tables here, too.
        if name in MADE or not name.startswith("constraints")
    }
    # Other processes may have applications that this one lacks, in the same database.
    others = {_app_of(name) for name in MADE} - apps.app_configs.keys()
    return [
        name
        for name in sorted(MADE.keys() | found.keys())
        if MADE.get(name) != found.get(name) and _app_of(name) not in others
    ]


def _app_of(name: str) -> str:
    # Tables and functions begin with the label of their application.
    return name.split()[-1].partition("_")[0]
