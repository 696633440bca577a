"""Wrong flags of every main: one line, and nothing written."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.fuzz_flags import MAINS

SEED, COUNT = 7, 500


def test_every_main_is_tried():
    mains = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert mains - {"__init__"} == set(MAINS)


@pytest.mark.slow
def test_wrong_flags_end_in_one_line_and_write_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_flags", str(SEED), str(COUNT), tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)
    assert len(cases) >= COUNT and {main for main, *_ in cases} == set(MAINS)
    bad = [
        (main, wrong, code, text)
        for main, _, wrong, code, text in cases
        if code != 1 or text.count("\n") != 1 or not text.startswith("error: ")
    ]
    assert bad == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
