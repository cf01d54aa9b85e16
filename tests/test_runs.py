"""Runs, end to end through the command: what is written, that it is right, and that it survives a kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import pyarrow.parquet as parquet
import pytest
from transformers import PreTrainedModel

import budgetlens.runs.engines.here
import budgetlens.runs.request
from budgetlens.command.main import main
from budgetlens.runs.manifest import RunError
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory, part_name
from tests.cautions import tables_without_caution
from tests.conftest import corpus_rows, write_corpus
from tests.precision import Float32, within
from tests.reference import eager, tiny_models

ROOT = Path(__file__).parents[1]
EXAMPLES = 5
#: Small enough for every example to be a part of its own.
BATCH_TOKENS = "300"


def command(out: Path, model: Path, corpus: Path, *more: str, analysis: str = "exp08") -> list[str]:
    given = ["run", analysis, "--model", str(model), "--corpus", str(corpus), "--out", str(out)]
    return [*given, "--batch-tokens", BATCH_TOKENS, "--device", "cpu", "--quiet", *more]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tiny.jsonl", EXAMPLES)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path, corpus: Path) -> Path:
    """A whole run of 08, which no test may change."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(command(out, tiny_directory, corpus)) == 0
    return out


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the whole run, to be damaged."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def records_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that end with their records, for tests that look at nothing else."""
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda directory, **how: None)


def csv_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.csv"))}


def records(out: Path) -> dict[str, pd.DataFrame]:
    return {
        str(path.relative_to(out)): parquet.read_table(path).to_pandas()
        for path in sorted((out / "records").glob("*/*.parquet"))
    }


def assert_same_run(one: Path, other: Path) -> None:
    """The same tables byte for byte, and the same records."""
    assert csv_files(one) == csv_files(other)
    first, second = records(one), records(other)
    assert first.keys() == second.keys()
    for name, frame in first.items():
        pd.testing.assert_frame_equal(frame, second[name], check_exact=True)


def errors_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


# What a run leaves.


def test_a_run_leaves_what_the_design_says(finished: Path) -> None:
    manifest = json.loads((finished / "run.json").read_text())
    assert manifest["analysis"] == "exp08"
    assert len(manifest["cells"]) == 17
    assert manifest["command"][:3] == ["budgetlens", "run", "exp08"]
    assert manifest["identity"]["seed"] == manifest["seed"] == 42
    assert set(csv_files(finished)) >= {
        f"{name}.csv"
        for name in (
            "likelihood",
            "effects",
            "decomposition",
            "shares",
            "share_effects",
            "entropies",
            "trials",
        )
    }
    assert {path.name for path in (finished / "figures").glob("*.html")} >= {
        "effects.html",
        "interaction.html",
        "budgets_decoder.html",
    }
    parts = sorted(path.stem for path in (finished / "parts").glob("part-*.json"))
    assert len(parts) == EXAMPLES
    for kind in ("trials", "likelihood", "budgets", "entropies"):
        assert sorted(path.stem for path in (finished / "records" / kind).glob("*")) == parts
    assert not list(finished.rglob("*.tmp"))


def test_columns_of_records_and_tables(finished: Path) -> None:
    whole = Run.open(finished)
    keys = ["example", "cell"]
    site = ["stack", "block", "layer", "head"]
    assert list(whole.records("likelihood").columns) == [*keys, "answer_tokens", "nll", "nll_sum"]
    assert list(whole.records("budgets").columns) == [*keys, *site, "role", "share"]
    assert list(whole.records("entropies").columns) == [*keys, *site, "part", "mass", "entropy"]
    expected = {
        "likelihood": {"cell", "alias", "prefix", "hidden", "prompt", "n", "mean", "low", "high"},
        "effects": {
            "contrast",
            "family",
            "n",
            "mean_difference",
            "low",
            "high",
            "d_z",
            "win_percent",
            "p_holm",
        },
        "decomposition": {"contrast", "part", "mean_difference", "low", "high", "share"},
        "shares": {"cell", "alias", "stack", "block", "layer", "role", "mean"},
        "entropies": {"cell", "alias", "stack", "block", "layer", "part", "n", "mass", "entropy"},
        "trials": {"cell", "alias", "n", "mean_document_tokens", "documents_changed", "truncated"},
    }
    for name, columns in expected.items():
        table = pd.read_csv(finished / "tables" / f"{name}.csv")
        assert columns <= set(table.columns), (name, sorted(columns - set(table.columns)))
    assert tables_without_caution(finished / "tables") == []
    budgets = whole.records("budgets")
    # Examples × cells × layers × heads × roles.
    assert len(budgets) == EXAMPLES * 17 * 5 * 6 * 8
    assert not budgets.duplicated([*keys, *site, "role"]).any()
    assert set(budgets["block"]) == {"merged"}


def by_hand(prefix: str, hidden: set[str], prompt: str) -> Iterator[dict[str, Any]]:
    """What the cell feeds for every row of the corpus file, put together from the tokenizer alone."""
    tokenizer = tiny_models.tokenizer()

    def plain(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for row in corpus_rows(EXAMPLES):
        query, document, answer = plain(row["query"]), plain(row["document"]), plain(row["answer"])
        roles = ["bos", *["document"] * len(document), "eos"]
        text = row["document"]
        if prefix == "oracle":
            text = f"{row['query']}\n{row['document']}"
            breaks = len(plain(text)) - len(query) - len(document)
            roles[1:1] = ["prefix"] * len(query) + ["separator"] * breaks
        own = query if prompt == "query" else []
        decoder = [tiny_models.BEGIN, *own, *answer]
        first = len(query) if prompt == "position" else 0
        yield {
            "encoder_ids": tokenizer(text)["input_ids"],
            "encoder_roles": roles,
            "visible": [role not in hidden for role in roles],
            "decoder_ids": decoder,
            "decoder_roles": ["start", *["prompt"] * len(own), *["answer"] * len(answer)],
            "answer_length": len(answer),
            "decoder_position_ids": list(range(first, first + len(decoder))),
        }


@pytest.mark.parametrize(
    ("alias", "cell"),
    [
        ("bare_nq", ("none", {"prefix", "separator"}, "none")),
        ("bare_q_bos_hidden", ("none", {"bos", "prefix", "separator"}, "query")),
        ("oracle_trunc_nq", ("oracle", {"prefix", "separator"}, "none")),
        ("oracle_trunc_q_bos_hidden", ("oracle", {"bos", "prefix", "separator"}, "query")),
        ("bare_shifted_nq", ("none", {"prefix", "separator"}, "position")),
    ],
)
def test_tables_are_the_oracle_s_means(
    alias: str,
    cell: tuple[str, set[str], str],
    finished: Path,
    truth: Callable[[str], PreTrainedModel],
    float32: Callable[[str], Float32],
) -> None:
    """From the corpus file to the CSV: likelihood and shares of a cell, and its entropies."""
    measured = [eager.measure(truth("t5gemma2"), **inputs) for inputs in by_hand(*cell)]
    precision = float32("t5gemma2")
    likelihood = pd.read_csv(finished / "tables" / "likelihood.csv").set_index("alias")
    mean = numpy.mean([one.nll_mean for one in measured])
    within(likelihood.loc[alias, "mean"], mean, of=precision.losses)
    assert likelihood.loc[alias, "n"] == EXAMPLES
    shares = pd.read_csv(finished / "tables" / "shares.csv")
    entropies = pd.read_csv(finished / "tables" / "entropies.csv")
    for layer in range(5):
        own = shares[(shares["alias"] == alias) & (shares["layer"] == layer)].set_index("role")["mean"]
        for role in (*eager.ENCODER_ROLES, *eager.DECODER_ROLES):
            values = [
                one.budgets["decoder", "merged", layer, head, role] for one in measured for head in range(6)
            ]
            if role in {"prefix", "separator"} - set(own.index):
                # Hidden in every cell: what no row of any cell could look at has no row in the table.
                assert set(values) == {0.0}
                continue
            unit = precision.of("share", "decoder", layer)
            within(own[role], numpy.mean(values), of=unit, what=(layer, role))
        parts = entropies[(entropies["alias"] == alias) & (entropies["layer"] == layer)].set_index("part")
        for part in ("self", "cross", "all"):
            pairs = [
                one.entropies["decoder", "merged", layer, head, part] for one in measured for head in range(6)
            ]
            mass, entropy = numpy.mean(pairs, axis=0)
            within(parts.loc[part, "mass"], mass, of=precision.of("mass", "decoder", layer))
            within(parts.loc[part, "entropy"], entropy, of=precision.of("entropy", "decoder", layer))


def test_effects_are_differences_of_the_likelihood_records(finished: Path) -> None:
    wide = Run.open(finished).outcomes.pivot(index="example", columns="cell", values="nll")
    hidden = "prefix+separator"
    bare, oracle_cell = (f"prefix={prefix}|hidden={hidden}|prompt=none" for prefix in ("none", "oracle"))
    difference = wide[bare] - wide[oracle_cell]
    effects = pd.read_csv(finished / "tables" / "effects.csv").set_index("contrast")
    row = effects.loc["oracle prefix | prompt=none, BOS visible"]
    assert row["mean_difference"] == pytest.approx(difference.mean(), abs=1e-12)
    assert row["d_z"] == pytest.approx(difference.mean() / difference.std(ddof=1), abs=1e-9)
    assert row["win_percent"] == pytest.approx(100 * (difference > 0).mean())


def test_batch_size_and_packing_of_a_run_change_nothing(
    finished: Path,
    tmp_path: Path,
    tiny_directory: Path,
    corpus: Path,
    records_only: None,
    float32: Callable[[str], Float32],
) -> None:
    out = tmp_path / "large"
    assert main([*command(out, tiny_directory, corpus), "--batch-tokens", "100000"]) == 0
    assert len(list((out / "parts").glob("part-*.json"))) == 1
    precision = float32("t5gemma2")
    for kind, values in (
        ("likelihood", {"nll": "losses"}),
        ("budgets", {"share": "share"}),
        ("entropies", {"mass": "mass", "entropy": "entropy"}),
    ):
        one, two = (Run.open(path).records(kind) for path in (finished, out))
        keys = [column for column in one.columns if column not in (*values, "nll_sum")]
        frames = [frame.astype(dict.fromkeys(keys, str)).set_index(keys).sort_index() for frame in (one, two)]
        assert frames[0].index.equals(frames[1].index)
        layers = frames[0].index.get_level_values("layer") if "layer" in keys else numpy.zeros(len(one), str)
        for column, quantity in values.items():
            for layer in set(layers):
                unit = precision.of(quantity, "decoder", int(layer) if layer else None)
                first, second = (frame.loc[layers == layer, column] for frame in frames)
                within(first, second, of=unit, what=(quantity, layer))


@pytest.mark.slow
def test_options_reach_the_run(tmp_path: Path, tiny_directory: Path, corpus: Path) -> None:
    out = tmp_path / "run"
    options = ["--protocol", "published", "--layers", "1,3", "--n", "3", "--encoder-rows"]
    assert main(command(out, tiny_directory, corpus, *options, analysis="07")) == 0
    manifest = json.loads((out / "run.json").read_text())
    assert [cell["alias"] for cell in manifest["cells"]] == [
        "bare_nq",
        "bare_q",
        "oracle_trunc_nq",
        "oracle_trunc_q",
    ]
    budgets = Run.open(out).records("budgets")
    assert set(budgets["layer"]) == {1, 3}
    assert set(budgets["stack"]) == {"encoder", "decoder"}
    assert budgets["example"].nunique() == 3
    assert manifest["identity"]["rows"] == "holding"
    assert (out / "tables" / "published_entropies.csv").is_file()
    hidden = Run.open(out).records("trials").groupby("cell", observed=True)["hidden_tokens"].min()
    assert (hidden > 0).sum() == 2


# Resuming.


def test_a_whole_run_is_not_run_again(
    copied: Path,
    finished: Path,
    tiny_directory: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    records_only: None,
) -> None:
    monkeypatch.setattr(budgetlens.runs.engines.here, "capture_part", None)
    before = {path: path.stat().st_mtime_ns for path in (copied / "records").rglob("*.parquet")}
    assert main(command(copied, tiny_directory, corpus)) == 0
    assert {path: path.stat().st_mtime_ns for path in (copied / "records").rglob("*.parquet")} == before
    assert_same_run(copied, finished)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path,
    finished: Path,
    tiny_directory: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    real = budgetlens.runs.engines.here.capture_part
    calls = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(budgetlens.runs.engines.here, "capture_part", interrupted)
    assert main(command(out, tiny_directory, corpus)) == 130
    assert "the same command continues" in errors_of(capsys)
    assert len(list((out / "parts").glob("part-*.json"))) == 2
    assert main(command(out, tiny_directory, corpus)) == 0
    # Two parts, the interrupted one, and the three that were left.
    assert calls == 3 + (EXAMPLES - 2)
    assert_same_run(out, finished)


def cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "cut": ("records/budgets/part-00001.parquet", cut_file),
    "altered": ("records/likelihood/part-00003.parquet", altered),
    "lost": ("records/trials/part-00000.parquet", Path.unlink),
    "no marker": ("parts/part-00002.json", Path.unlink),
    "cut marker": ("parts/part-00002.json", cut_file),
    "binary marker": ("parts/part-00004.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    "wrong marker": ("parts/part-00004.json", lambda path: path.write_text('{"files": ["part"]}')),
    "empty marker": ("parts/part-00004.json", lambda path: path.write_text('{"files": {}}')),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_part_is_no_whole_part(kind: str, copied: Path) -> None:
    name, damage = DAMAGES[kind]
    directory = RunDirectory(copied)
    stem = Path(name).stem
    assert directory.part_is_whole(stem)
    damage(copied / name)
    assert not directory.part_is_whole(stem)
    others = [part_name(index) for index in range(EXAMPLES) if index != int(stem[-1])]
    assert all(directory.part_is_whole(other) for other in others)


def test_damaged_parts_are_done_again(
    copied: Path,
    finished: Path,
    tiny_directory: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    records_only: None,
) -> None:
    real = budgetlens.runs.engines.here.capture_part
    done = []

    def counted(*arguments: Any, **options: Any) -> Any:
        done.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(budgetlens.runs.engines.here, "capture_part", counted)
    for kind in ("cut", "altered", "lost", "no marker"):
        name, damage = DAMAGES[kind]
        damage(copied / name)
    assert main(command(copied, tiny_directory, corpus)) == 0
    assert len(done) == 4
    assert_same_run(copied, finished)


def test_a_run_that_was_killed_while_run_json_was_written_can_start(
    tmp_path: Path, finished: Path, tiny_directory: Path, corpus: Path, records_only: None
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".run.json.4711.tmp").write_text('{"form')
    assert main(command(out, tiny_directory, corpus)) == 0
    assert records(out).keys() == records(finished).keys()


#: Runs with bars, whose appearance tells when the capture begins.
KILLED_EXAMPLES = 40


@pytest.mark.slow
def test_five_kills_at_random_moments_change_no_byte(tmp_path: Path, tiny_directory: Path) -> None:
    """``kill -9`` within the measured time of a run, then the same command, five times over."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", KILLED_EXAMPLES)

    def start(out: Path, log: Path) -> subprocess.Popen[bytes]:
        given = [option for option in command(out, tiny_directory, corpus) if option != "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "budgetlens.command.main", *given],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    def wait_for_capture(process: subprocess.Popen[bytes], log: Path) -> None:
        limit = time.monotonic() + 300
        while b"exp08 17 cells" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < limit
            time.sleep(0.02)

    def parts_of(out: Path) -> int:
        return len(list((out / "parts").glob("part-*.json")))

    def wait_for_parts(process: subprocess.Popen[bytes], out: Path) -> None:
        while parts_of(out) < KILLED_EXAMPLES:
            assert process.poll() is None
            time.sleep(0.02)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole, tmp_path / "whole.log")
    wait_for_capture(process, tmp_path / "whole.log")
    moments = [time.monotonic()]
    wait_for_parts(process, whole)
    moments.append(time.monotonic())
    assert process.wait(timeout=300) == 0
    moments.append(time.monotonic())
    capturing, finishing = moments[1] - moments[0], moments[2] - moments[1]
    generator = random.Random(2)
    parts = []
    for number in range(5):
        log = tmp_path / f"killed-{number}.log"
        process = start(killed, log)
        wait_for_capture(process, log)
        if number < 4:
            # A fifth of the captures each, so that the fourth is still at work when it is killed.
            time.sleep(generator.uniform(0.0, 0.2) * capturing)
        else:
            wait_for_parts(process, killed)
            time.sleep(generator.uniform(0.0, 0.7) * finishing)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
        parts.append(parts_of(killed))
        if number < 4:
            # What is there is no whole run, and is not taken for one.
            with pytest.raises(RunError, match="is not finished"):
                Run.open(killed)
    assert parts == sorted(parts)
    assert 0 < parts[3] < parts[4] == KILLED_EXAMPLES
    process = start(killed, tmp_path / "last.log")
    assert process.wait(timeout=300) == 0, (tmp_path / "last.log").read_text()
    assert len(csv_files(killed)) >= 7
    assert_same_run(killed, whole)


# What a directory refuses.


def test_another_run_s_directory_is_refused_with_what_differs(
    finished: Path, tiny_directory: Path, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "run.json").read_bytes()
    assert main(command(finished, tiny_directory, corpus, "--seed", "7")) == 2
    message = errors_of(capsys)
    assert "holds another run (" in message
    assert "seed: 42 there, 7 now" in message
    assert "give another directory (out=… or --out)" in message
    other = write_corpus(tmp_path / "other.jsonl", EXAMPLES + 1)
    assert main(command(finished, tiny_directory, other)) == 2
    message = errors_of(capsys)
    assert "corpus: " in message
    assert "seed: " not in message
    # Without --layers all are read; the cells of 07 are not those of 08.
    assert main(command(finished, tiny_directory, corpus, "--layers", "0,1")) == 2
    assert 'layers: "all" there, [0, 1] now' in errors_of(capsys)
    assert main(command(finished, tiny_directory, corpus, analysis="exp07")) == 2
    assert 'analysis: "exp08" there, "exp07" now' in errors_of(capsys)
    assert (finished / "run.json").read_bytes() == before


def test_other_passages_for_padding_are_another_run(
    finished: Path,
    tiny_directory: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Equal examples do not make equal runs: padding is taken from the rest of the corpus."""
    read = budgetlens.runs.request.read_corpus
    monkeypatch.setattr(
        budgetlens.runs.request,
        "read_corpus",
        lambda *given, **options: replace(read(*given, **options), padding_pool=("another passage",)),
    )
    assert main(command(finished, tiny_directory, corpus)) == 2
    message = errors_of(capsys)
    assert "padding_pool: " in message
    assert "corpus: " not in message.split("holds another run")[1]


def test_a_changed_model_is_another_run(
    finished: Path, tiny_directory: Path, tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "model"
    tiny_models.build("t5gemma2", seed=1).save_pretrained(changed)
    tiny_models.tokenizer().save_pretrained(changed)
    assert main(command(finished, changed, corpus)) == 2
    assert "model: " in errors_of(capsys)


def test_a_copy_of_the_model_elsewhere_is_the_same_run(
    copied: Path, finished: Path, tiny_directory: Path, tmp_path: Path, corpus: Path, records_only: None
) -> None:
    """Names and places change no number."""
    shutil.copytree(tiny_directory, tmp_path / "elsewhere")
    shutil.copy(corpus, tmp_path / "renamed.jsonl")
    assert main(command(copied, tmp_path / "elsewhere", tmp_path / "renamed.jsonl")) == 0
    assert_same_run(copied, finished)


def test_a_directory_in_use_is_refused(
    copied: Path, tiny_directory: Path, corpus: Path, capsys: pytest.CaptureFixture[str], records_only: None
) -> None:
    with RunDirectory(copied).locked():
        assert main(command(copied, tiny_directory, corpus)) == 2
    assert (
        f"another process is writing to {copied}; wait for it or give another directory (out=… or --out)"
        in errors_of(capsys)
    )
    assert main(command(copied, tiny_directory, corpus)) == 0


def test_a_directory_is_held_against_other_processes(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from budgetlens.runs.storage import RunDirectory, RunError\n"
        "try:\n    with RunDirectory(Path(sys.argv[1])).locked(): print('held')\n"
        "except RunError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def attempt() -> str:
        result = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return result.stdout.strip() or result.stderr

    with RunDirectory(tmp_path).locked():
        assert attempt().startswith("another process is writing to ")
    assert attempt() == "held"


def test_a_foreign_directory_is_refused(
    tmp_path: Path, tiny_directory: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    assert main(command(tmp_path, tiny_directory, corpus)) == 2
    assert "is not empty and holds no run.json; give an empty or new directory" in errors_of(capsys)
    assert (tmp_path / "thesis.tex").read_text() == "text"


def test_damaged_and_old_manifests_are_refused(
    copied: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = copied / "run.json"
    content = manifest.read_text()
    (copied / "parts" / "run.json").unlink()
    manifest.write_text(content[:100])
    assert main(["tables", str(copied)]) == 2
    assert "run.json is damaged" in errors_of(capsys)
    manifest.write_text(content.replace('"format": 2', '"format": 0', 1))
    assert main(["tables", str(copied)]) == 2
    assert "has format 0; this version reads the formats 1 and 2" in errors_of(capsys)
    manifest.unlink()
    assert main(["tables", str(copied)]) == 2
    message = errors_of(capsys)
    assert "holds parts of a run, but no run.json, nor a sound copy of it in " in message
    assert "give the command that made the run again" in message
    shutil.rmtree(copied / "parts")
    assert main(["tables", str(copied)]) == 2
    assert "holds no run.json; give the directory that `budgetlens run` wrote" in errors_of(capsys)
    with pytest.raises(
        RunError, match="has no 'heads' records; it has budgets, entropies, likelihood, norm, trials"
    ):
        Run.open(finished).records("heads")


# The other commands.


def test_tables_are_made_again_from_records_alone(
    copied: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "tables")
    shutil.rmtree(copied / "figures")
    assert main(["tables", str(copied)]) == 0
    assert csv_files(copied) == csv_files(finished)
    printed = capsys.readouterr().out
    assert "Answer NLL by cell" in printed
    assert "oracle_trunc_random_q" in printed
    assert (copied / "figures" / "effects.html").is_file()


def test_show_prints_every_cell_by_role(
    tiny_directory: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["show", "exp08", "--model", str(tiny_directory), "--corpus", str(corpus)]
    assert main(given) == 0
    printed = capsys.readouterr().out
    for role in (*eager.ENCODER_ROLES, *eager.DECODER_ROLES):
        assert role in printed
    flat = printed.replace("\n", "")
    for prefix in ("none", "oracle"):
        for prompt in ("none", "random-text", "query"):
            assert f"prefix={prefix}|hidden=bos+prefix+separator|prompt={prompt}" in flat
    assert "decoder positions are moved by" in flat
    # One cell of the published protocol, by its short name.
    assert main([*given, "--example", "2", "--cell", "bare_q", "--protocol", "published"]) == 0
    flat = capsys.readouterr().out.replace("\n", "")
    assert "prefix=none|hidden=first-n|prompt=query" in flat
    assert "oracle" not in flat
    assert main([*given, "--example", "99"]) == 2
    assert f"the corpus has examples 0 to {EXAMPLES - 1}" in errors_of(capsys)
    assert main([*given, "--cell", "bare_x"]) == 2
    assert "no cell is called ['bare_x']; cells: bare_nq, " in errors_of(capsys)


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "exp07",
        "exp08",
        "prefix",
        "hidden",
        "prompt",
        "budgets",
        "entropies",
        "reference",
        "ms_marco",
        "pegasus",
    ):
        assert name in printed
    assert main(["list", "probes"]) == 0
    printed = capsys.readouterr().out
    assert "published_entropies" in printed
    assert "exp08" not in printed


def test_user_errors_are_one_line_without_a_traceback(
    tiny_directory: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path / "run", tiny_directory, corpus, analysis="exp80")) == 2
    assert errors_of(capsys).startswith("budgetlens: no analysis is called 'exp80'. Did you mean 'exp08'?")
    assert main(command(tmp_path / "run", tiny_directory, tmp_path / "nothing.jsonl")) == 2
    assert "neither a known corpus" in errors_of(capsys)
    assert main(command(tmp_path / "run", tiny_directory, corpus, "--layers", "0,5")) == 2
    message = errors_of(capsys)
    assert "layers [5] were asked for" in message
    assert "has decoder layers 0 to 4" in message
    for wrong in (["--n", "0"], ["--layers", "first"], ["--rows", "both"], ["--batch-tokens", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(command(tmp_path / "run", tiny_directory, corpus, *wrong))
        assert stopped.value.code == 2
    assert "expected a whole number of at least 1" in errors_of(capsys)
