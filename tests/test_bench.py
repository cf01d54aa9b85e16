"""Benchmarks: a whole job in both ways on a tiny shape, and what is said of targets."""

from __future__ import annotations

import pytest
import torch

from budgetlens.command import bench
from budgetlens.command.bench import Asked, compare_ways_of_shape, paired_ratios, run_benchmarks
from budgetlens.command.random_models import Shape
from budgetlens.model.loaded import ModelError

TINY = Shape("tiny", width=24, feed_forward=40, layers=2, heads=2, head_width=12, window=64)
ASKED = Asked(repeats=1, device=torch.device("cpu"), examples=2)


def test_a_job_in_both_ways_gives_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a random shape; the time is told against the target, and numbers that are apart are no success."""
    monkeypatch.setattr(bench, "JOB_LEAST", 0.0)
    assert compare_ways_of_shape(TINY, ASKED)
    told = capsys.readouterr().out
    assert "published way / analysis 08, 2 examples × 17 cells, random tiny shape: " in told
    assert "target at least 0.0: met" in told
    wrong = bench.published_job

    def shifted(*given: object) -> object:
        return {key: {**own, "nll": own["nll"] + 0.01} for key, own in wrong(*given).items()}  # type: ignore[arg-type]

    monkeypatch.setattr(bench, "published_job", shifted)
    assert not compare_ways_of_shape(TINY, ASKED)
    assert "largest deviation of the two ways' numbers: 1.0e-02" in capsys.readouterr().out


def test_a_target_that_is_not_met_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "JOB_LEAST", 1e9)
    assert not compare_ways_of_shape(TINY, ASKED)
    assert "NOT MET" in capsys.readouterr().out


def test_parts_and_devices_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="no benchmark is called 'speed'; there are capture, memory"):
        run_benchmarks(["speed"], repeats=1, device="cpu", examples=None)
    with pytest.raises(ModelError, match="unknown device 'abacus'"):
        run_benchmarks(["job"], repeats=1, device="abacus", examples=None)


def test_ratios_are_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm-up of each, then pairs in alternating order."""
    clock, calls = [0.0], []

    def taking(name: str, seconds: float) -> None:
        calls.append(name)
        clock[0] += seconds

    monkeypatch.setattr("budgetlens.command.bench.time.perf_counter", lambda: clock[0])
    found = paired_ratios(lambda: taking("a", 3.0), lambda: taking("b", 2.0), 2)
    assert found == [1.5, 1.5]
    assert "".join(calls) == "ababba"
