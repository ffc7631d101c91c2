"""Chromium for the browser tests: found, or as root installed from the system's packages."""

import os
import shutil

from launcher.bootstrap import install_debian_packages
from launcher.screen import say

# Fonts, because a bare machine has none and every text would be boxes.
_PACKAGES = ["chromium-headless-shell", "fonts-dejavu-core", "fonts-noto-color-emoji"]
# The shell is Chromium without the windows and menus around its pages, which cost half of the processor time.
_SHELL = "chromium-headless-shell"
_NAMES = (_SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def ensure_chromium() -> None:
    """Without it the browser tests skip and say why; everything else is tested all the same."""
    if shutil.which(_SHELL):
        return
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if not (can_install and install_debian_packages(_PACKAGES)) and not find_chromium():
        say(
            "Chromium is missing, so the browser tests will be skipped: install the package "
            f"{_SHELL} (Debian: apt install {_SHELL}) and run again."
        )


def find_chromium() -> str | None:
    """The path of the browser, if there is one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)
