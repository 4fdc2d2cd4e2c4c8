"""The examples run, and say what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def number_after(label, text):
    """Last number of the line that begins with `label`."""
    (line,) = (line for line in text.splitlines() if line.startswith(label))
    return float(re.findall(r"\d+\.\d+", line)[-1])


@pytest.mark.slow
def test_clean_digits(tmp_path):
    script = ROOT / "examples" / "plot_clean_digits.py"
    run = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    area = re.search(r"worst-class margin influence \(default\) +(\S+)", run.stdout)
    assert float(area[1]) >= 0.97
    before = number_after("before", run.stdout)
    after = number_after("after", run.stdout)
    oracle = number_after("oracle", run.stdout)
    assert after > before
    assert after >= oracle - 0.01
    for picture in ("worst_rows.png", "removal_curves.png"):
        assert (tmp_path / "demo_output" / picture).stat().st_size > 10_000
