"""Spin and gcc for the check of the decision model: found, or as root installed from the system's packages."""

import os
import shutil

from launcher.bootstrap import install_debian_packages
from launcher.screen import say

# Spin writes a program in C that visits every state, and cpp reads the model's switches.
_PACKAGES = ["spin", "gcc", "libc6-dev"]


def ensure_spin() -> None:
    """Without it the test of the model skips and says why; everything else is tested all the same."""
    if has_spin():
        return
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if not (can_install and install_debian_packages(_PACKAGES) and has_spin()):
        say(
            "Spin or gcc is missing, so the model of decisions will not be checked: install the packages spin and gcc "
            "(Debian: apt install spin gcc) and run again."
        )


def has_spin() -> bool:
    """Whether the model can be checked."""
    return all(shutil.which(name) for name in ("spin", "gcc"))
