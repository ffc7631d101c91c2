"""Where things are in a clone. Nothing here looks at the environment or at the data
folder.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# Django's command line.
MANAGE = (str(PYTHON), str(ROOT / "manage.py"))
SERVERS = ROOT / ".servers"
