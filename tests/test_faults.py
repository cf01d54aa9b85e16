"""A short campaign of faults: kills, damaged files, full disks, used-up memory, two writers, a removed directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_short_campaign_of_faults_holds() -> None:
    """In a process of its own: it forks, and its forks must not inherit the threads of other tests."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.faults",
            "--seed",
            "3",
            "--kills",
            "8",
            "--damage",
            "some",
            "--others",
            "1",
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    (total,) = [line.split() for line in result.stdout.splitlines() if line.startswith("all ")]
    assert int(total[1]) >= 20
    assert total[3] == "0"
