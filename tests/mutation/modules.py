"""The core, module by module, and the fast tests that have to notice when one of them is broken."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Module:
    """Files to break, and the tests to run; both are patterns below the root of the project."""

    broken: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """The files to break, relative to the root."""
        return [path.relative_to(ROOT) for pattern in self.broken for path in sorted(ROOT.glob(pattern))]

    @property
    def selection(self) -> list[str]:
        """The test files, as pytest takes them."""
        return [str(path.relative_to(ROOT)) for pattern in self.tests for path in sorted(ROOT.glob(pattern))]


_DECISIONS = tuple(
    f"tests/integration/test_{name}.py"
    for name in (
        "decide",
        "execute",
        "settle_details",
        "withdraw",
        "expiry",
        "resolve",
        "unreachable",
        "kill_switch",
        "events_out",
    )
)
_GATEWAY = tuple(
    f"tests/integration/gateway/test_gateway_{name}.py"
    for name in ("send", "oversight", "outbox", "schedule", "suppression", "refusals", "allowlists", "kills")
)

MODULES = {
    "states": Module(
        broken=("mirror/states.py", "gateway/states.py"),
        tests=("tests/unit/test_states.py", "tests/unit/test_gateway_states.py"),
    ),
    "signatures": Module(
        broken=("upstream/signatures.py",),
        tests=("tests/unit/test_upstream_signatures.py", "tests/integration/test_webhook_security.py"),
    ),
    "fingerprint": Module(
        broken=("common/fingerprint.py",),
        tests=("tests/unit/test_fingerprint.py", "tests/unit/test_difference.py"),
    ),
    "settle": Module(broken=("approvals/decisions/settle.py",), tests=_DECISIONS),
    "ruling": Module(
        broken=("approvals/decisions/ruling.py", "policy/evaluation.py"),
        tests=(
            "tests/unit/test_ruling.py",
            "tests/unit/test_kill_switch_roles.py",
            "tests/integration/test_allowlist_ruling.py",
            "tests/integration/test_ruling_details.py",
            "tests/integration/test_kill_switch.py",
            "tests/integration/test_decide.py",
        ),
    ),
    "decide": Module(
        broken=("approvals/decisions/decide.py",), tests=(*_DECISIONS, "tests/integration/test_enclosed.py")
    ),
    "execute": Module(broken=("approvals/decisions/execute.py",), tests=_DECISIONS),
    "ingest": Module(
        broken=("approvals/intake/ingest.py",),
        tests=(
            "tests/unit/test_upstream_events.py",
            "tests/integration/test_webhook*.py",
            "tests/integration/test_late_events.py",
            "tests/integration/test_replay.py",
            "tests/integration/test_interleavings.py",
            "tests/integration/test_own_hook.py",
        ),
    ),
    "allowlists": Module(
        broken=("policy/allowlists/judgement.py", "gateway/recipients/allowlists.py", "common/patterns.py"),
        tests=(
            "tests/unit/test_allowlist_judge.py",
            "tests/unit/test_gateway_recipients.py",
            "tests/integration/test_allowlist_changes.py",
            "tests/integration/test_allowlist_ruling.py",
            "tests/integration/test_allow_address.py",
            "tests/integration/gateway/test_gateway_allowlists.py",
            "tests/integration/gateway/test_gateway_contacts.py",
        ),
    ),
    "recording": Module(
        broken=("audit/recording.py",),
        tests=(
            "tests/integration/test_appending.py",
            "tests/integration/test_ledger_entries.py",
            "tests/integration/test_ledger_search.py",
            "tests/integration/test_sealing.py",
        ),
    ),
    "sealing": Module(
        broken=("audit/sealing/*.py",),
        tests=("tests/integration/test_sealing*.py", "tests/integration/test_ledger_*.py"),
    ),
    # What decides; the other files of the folder measure and mark.
    "sanitiser": Module(
        broken=("rendering/sanitise.py", "rendering/links.py", "simple_form/*.py"),
        tests=("tests/unit/test_rendering_*.py", "tests/unit/test_simple_form.py"),
    ),
    "admission": Module(broken=("gateway/messages/admission.py",), tests=_GATEWAY),
    "outbox": Module(broken=("gateway/messages/outbox.py",), tests=_GATEWAY),
}
