"""Compares what PostgreSQL does by itself when rows of the desk are read or changed, and
what it refuses, with what the migrations made: some of it protects the ledger, and
somebody who administers the database could add more.
"""

from django.apps import apps

from audit.guards import APPEND_ONLY
from common.postgres import made_in_schema

# As `made_in_schema` returns it after all migrations.
MADE = {
    "constraints of alerts": "3d52772fcc64",
    "constraints of approvals": "f6e7f1ae26d7",
    "constraints of audit": "85f80df1c61b",
    "constraints of dashboard": "e79106f03c6d",
    "constraints of gateway": "6820106da6a9",
    "constraints of mirror": "e3af985b1071",
    "constraints of notices": "a540d1054b72",
    "constraints of people": "8c8e722290da",
    "constraints of policy": "87c1d7886eda",
    "function approvals_begin_review": "9da4c02d7468",
    "function approvals_follow_message": "a1fb20b6520e",
    "function audit_refuse": "dc65eef8763e",
    "function audit_remove_details": "11ae21c9d707",
    "function gateway_forget_fingerprint": "3266475ce638",
    "function people_begin_period": "563960f26c3f",
    "function people_end_period": "bf900450c965",
    "function people_note_emptied": "cbfed585a089",
    "function people_note_grant": "0111c952de8e",
    "function people_note_person": "7e41a59a645c",
    "function people_refuse": "cc55abef29d0",
    "function policy_keep_version": "5f291b6d1833",
    "trigger audit_anchor_rows on audit_anchor": "eaac343478f5",
    "trigger audit_anchor_whole on audit_anchor": "6745030079fb",
    "trigger audit_entry_rows on audit_entry": "eaac343478f5",
    "trigger audit_entry_whole on audit_entry": "6745030079fb",
    "trigger audit_entrydetail_rows on audit_entrydetail": "b8220caacaf0",
    "trigger audit_entrydetail_whole on audit_entrydetail": "6745030079fb",
    "trigger audit_seal_rows on audit_seal": "eaac343478f5",
    "trigger audit_seal_whole on audit_seal": "6745030079fb",
    "trigger audit_sealedentry_rows on audit_sealedentry": "eaac343478f5",
    "trigger audit_sealedentry_whole on audit_sealedentry": "6745030079fb",
    "trigger gateway_body_written on gateway_email": "6b776910e62c",
    "trigger mirror_message_begin_review on mirror_message": "fbd0262d0c32",
    "trigger mirror_message_follow_review on mirror_message": "ab15e2ff3951",
    "trigger people_grant_emptied on people_grant": "80b88fe1adf0",
    "trigger people_grant_noted on people_grant": "18aa379a8bf8",
    "trigger people_grantperiod_rows on people_grantperiod": "949df13f0980",
    "trigger people_grantperiod_whole on people_grantperiod": "4f761b651c7a",
    "trigger people_person_noted on people_person": "32fc2e6f165e",
    "trigger policy_version_stays on policy_policyversion": "e4a83ca4cd05",
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
