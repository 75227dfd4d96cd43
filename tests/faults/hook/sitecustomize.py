"""Loaded by every Python process that a command starts while the harness has this folder on
``PYTHONPATH``.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from fault_points import arm_from_environment

arm_from_environment()
