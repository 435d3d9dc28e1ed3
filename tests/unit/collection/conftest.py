"""The collection's own code is imported by the name Ansible has for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(
    0, subprocess.run([ROOT / "scripts/collections"], capture_output=True, text=True, check=True).stdout.strip()
)
