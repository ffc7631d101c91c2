"""The backup file: what is cut off, damaged, altered, newer or opened with another
passphrase is refused by name.
"""

import io
import json
import stat
import zipfile

import pytest

from dashboard.backup import archive
from dashboard.backup.archive import (
    DUMP,
    MANIFEST,
    SEALS,
    SECRETS,
    Backup,
    BackupError,
    new_backup,
)
from dashboard.backup.unpack import unpack


def break_off(path):
    with new_backup(path) as backup, backup.add(DUMP) as file:
        file.write(b"half of it")
        raise ZeroDivisionError


PASSPHRASE = "correct horse battery"
KEYS = {"SECRET_KEY": "s" * 48, "ENCRYPTION_KEYS": "new,old", "SEAL_KEY": "k" * 43}


@pytest.fixture(autouse=True)
def _cheap_key(monkeypatch):
    """The product makes each guess at a passphrase expensive on purpose."""
    monkeypatch.setattr(archive, "_COST", {**archive._COST, "n": 2})


@pytest.fixture
def path(tmp_path):
    """A whole backup."""
    path = tmp_path / "desk.backup"
    with new_backup(path) as backup:
        for name in (SEALS, DUMP):
            with backup.add(name) as file:
                file.write(f"what {name} holds ".encode() * 5000)
        files = {"credentials.env": "A=b\n", "another.env": "never asked for"}
        backup.finish(
            {"version": "0.1.0"},
            secrets={"keys": KEYS, "files": files},
            passphrase=PASSPHRASE,
        )
    return path


def rewritten(path, **changes):
    """Write it again with other bytes in some of its files."""
    with zipfile.ZipFile(path) as source:
        files = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, data in files.items():
            target.writestr(
                name, changes.get(name.partition(".")[0], lambda data: data)(data)
            )
    return path


def use(path):
    backup = Backup(path)
    backup.check()
    return backup.secrets(PASSPHRASE)


def refusal(path):
    """Why it cannot be used."""
    with pytest.raises(BackupError) as refused:
        use(path)
    return str(refused.value)


def test_backup_is_for_its_owner_only_and_its_keys_are_not_readable_in_it(
    path, tmp_path
):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(key.encode() in path.read_bytes() for key in KEYS.values())
    unpack(
        path,
        tmp_path,
        passphrase=PASSPHRASE,
        environment={"ENCRYPTION_KEYS": "newest, new,old"},
    )
    assert (tmp_path / "secrets.env").read_text() == "".join(
        f"{name}={value}\n" for name, value in KEYS.items()
    )
    assert {file.name for file in tmp_path.iterdir()} == {
        "desk.backup",
        "secrets.env",
        "credentials.env",
    }


def test_what_is_not_as_it_was_written_is_refused_and_named(path):
    whole = path.read_bytes()
    damaged = whole.replace(b"what database.dump", b"what databasf.dump", 1)
    for data in (whole[:-100], b"PGDMP of another program"):
        path.write_bytes(data)
        assert "not a complete backup" in refusal(path)
    path.write_bytes(damaged)
    assert f"damaged: {DUMP} has changed" in refusal(path)
    path.write_bytes(whole)
    assert "newer Countersign (0.1.0)" in refusal(
        rewritten(
            path, manifest=lambda data: data.replace(b'"format": 1', b'"format": 2')
        )
    )


def test_altered_backup_whose_checksums_fit_again_is_found_out_by_the_passphrase(path):
    forged = io.BytesIO()
    with zipfile.ZipFile(path) as source:
        manifest = json.loads(source.read(MANIFEST))
        manifest["files"][DUMP] = {
            "size": 1,
            "sha256": archive.hashlib.sha256(b"x").hexdigest(),
        }
        with zipfile.ZipFile(forged, "w") as target:
            target.writestr(SEALS, source.read(SEALS))
            target.writestr(DUMP, b"x")
            target.writestr(MANIFEST, json.dumps(manifest))
            target.writestr(SECRETS, source.read(SECRETS))
    path.write_bytes(forged.getvalue())
    Backup(path).check()
    assert "was altered" in refusal(path)


def test_wrong_passphrase_and_other_keys_in_the_environment_write_nothing(
    path, tmp_path
):
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(BackupError, match="passphrase does not open"):
        unpack(path, folder, passphrase="another one, and long", environment={})
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "SEAL_KEY"):
        with pytest.raises(
            BackupError, match=f"^{name} is set and differs from the backup's"
        ):
            unpack(path, folder, passphrase=PASSPHRASE, environment={name: "another"})
    assert not list(folder.iterdir())


def test_backup_that_breaks_off_leaves_nothing_and_none_is_written_over(path, tmp_path):
    with pytest.raises(BackupError, match="already exists"):
        break_off(path)
    with pytest.raises(ZeroDivisionError):
        break_off(tmp_path / "other")
    assert [file.name for file in tmp_path.iterdir()] == ["desk.backup"]
