"""`python -m dashboard.backup.unpack FILE FOLDER`: checks a backup and writes its keys
into an empty data folder.

`./run restore` calls it before anything else starts, because without the keys there are
no settings.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from common.credentials import replace_private, write_credentials
from common.demo import APPLICATION_FILE
from common.env import BadVariable, env_list
from dashboard.backup.archive import (
    Backup,
    BackupError,
    read_passphrase,
    refuse_small_disk,
)
from launcher.keys import FILE, NAMES

# Files that only the demo needs, besides the keys.
DEMO_FILES = ("credentials.env", APPLICATION_FILE)


def unpack(
    path: Path, folder: Path, *, passphrase: str, environment: Mapping[str, str]
) -> None:
    """Check the whole backup and write its keys into `folder`. Raises BackupError or
    BadVariable, and has then written nothing.

    Keys that are set in `environment` would take precedence over those in the folder,
    so they have to include the backup's.
    """
    backup = Backup(path)
    backup.check()
    if environment.keys().isdisjoint({"DATABASE_URL", "DATABASE_URL_FILE"}):
        # The embedded database is on the disk of the folder.
        refuse_small_disk(folder, backup.manifest.get("database_size", 0))
    secrets = backup.secrets(passphrase)
    keys = {name: str(secrets["keys"][name]) for name in NAMES}
    for name in NAMES:
        # SECRET_KEY has a separate variable for older keys; the others list them after
        # the newest.
        older = "SECRET_KEY_FALLBACKS" if name == "SECRET_KEY" else ""
        set_keys = env_list(name, variables=environment)
        in_use = {*set_keys, *env_list(older, variables=environment)}
        if set_keys and not in_use.issuperset(env_list(name, variables=keys)):
            place = f"into {older}" if older else "behind it, with a comma between them"
            raise BackupError(
                f"{name} is set and differs from the backup's. Leave it out to use the backup's, or put the backup's "
                f"{place}."
            )
    write_credentials(folder / FILE, keys)
    for name in DEMO_FILES:
        if text := secrets["files"].get(name):
            replace_private(folder / name, text)


def main(arguments: list[str]) -> int:
    """Unpack the file into the folder. Print an error and return 1 if that fails."""
    path, folder = map(Path, arguments)
    try:
        unpack(
            path,
            folder,
            passphrase=read_passphrase(is_new=False),
            environment=os.environ,
        )
    except (BackupError, BadVariable, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 the only output there is
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
