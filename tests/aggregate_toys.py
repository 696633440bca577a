"""What the tests of statistics compare."""

from tests.sweep_files import TASK

WALKER = {**TASK, "task": "walker2d-medium", "environment": "Walker2d-v5"}
