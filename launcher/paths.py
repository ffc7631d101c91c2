"""Where things are in a clone. Nothing here looks at the environment or at the data
folder.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SERVERS = ROOT / ".servers"
