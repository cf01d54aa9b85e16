"""Designs of one's own: from options, from files, and any analysis's design as a file."""

from __future__ import annotations

import re
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml

from budgetlens.command.design_options import design_of, factor_argument, split_levels
from budgetlens.command.main import main
from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.catalogue import analysis_of, available_analyses, find_analysis
from budgetlens.design.custom import custom_analysis, design_mapping
from budgetlens.design.design import Design, Factor, crossed
from budgetlens.design.factorial_plan import automatic_contrasts
from budgetlens.design.files import FORMATS, read_design, write_design
from budgetlens.design.intervention import available_interventions
from budgetlens.design.plan import Plan
from budgetlens.design.schema import DesignError
from budgetlens.registry.names import RegistryError
from budgetlens.runs.running import design_details, file_hashes
from budgetlens.statistics.contrasts import Contrast
from tests.factorial import factorial_contrasts

PREFIX, PROMPT = ["none", "oracle"], ["none", "random-text", "query"]
TWO_BY_TWO = {"factors": {"prefix": PREFIX, "prompt": ["none", "query"]}}


def plan_of(design: Any) -> Plan:
    return custom_analysis(design).plan("corrected")


def weights(contrasts: Any) -> dict[str, dict[str, float]]:
    return {contrast.name: dict(contrast.weights) for contrast in contrasts}


# Contrasts that nobody named.


def test_the_contrasts_of_a_two_by_two_by_hand() -> None:
    plan = plan_of(TWO_BY_TWO)
    nn, nq, on, oq = (f"prefix={prefix}|prompt={prompt}" for prefix in PREFIX for prompt in ("none", "query"))
    assert [cell.name for cell in plan.design.cells] == [nn, nq, on, oq]
    expected = {
        "prefix none→oracle": {nn: 0.5, nq: 0.5, on: -0.5, oq: -0.5},
        "prompt none→query": {nn: 0.5, nq: -0.5, on: 0.5, oq: -0.5},
        "prefix none→oracle × prompt none→query": {nn: 1, nq: -1, on: -1, oq: 1},
        "prefix none→oracle | prompt=none": {nn: 1, on: -1},
        "prefix none→oracle | prompt=query": {nq: 1, oq: -1},
        "prompt none→query | prefix=none": {nn: 1, nq: -1},
        "prompt none→query | prefix=oracle": {on: 1, oq: -1},
    }
    assert weights(plan.contrasts) == expected
    assert [contrast.family for contrast in plan.contrasts] == [
        *["main effects"] * 2,
        "interactions",
        *["simple effects"] * 4,
    ]
    assert [contrast.name for contrast in plan.share_contrasts] == list(expected)[:3]
    assert plan.interaction == ("prompt", "prefix")
    assert [contrast.name for contrast in plan.headline_contrasts] == [
        "prefix none→oracle",
        "prefix none→oracle × prompt none→query",
        "prefix none→oracle | prompt=none",
    ]


def test_a_full_crossing_gives_every_contrast_of_the_factorial() -> None:
    factors = {"prefix": PREFIX, "hidden": ["none", "bos", "eos"], "prompt": PROMPT}
    plan = plan_of({"factors": factors})
    expected = factorial_contrasts([cell.name for cell in plan.design.cells], factors, family="all")
    assert len(expected) == 1 + 2 + 2 + 2 + 2 + 4 + 4 + 1 * 9 + 2 * 6 + 2 * 6
    assert weights(plan.contrasts) == weights(expected)
    assert plan.interaction == ("prompt", "prefix", "hidden")


def test_draws_of_a_level_are_averaged() -> None:
    plan = plan_of({"factors": {"prompt": ["none", "random-text", "random-text#2", "query"]}})
    none, first, second, query = (cell.name for cell in plan.design.cells)
    assert weights(plan.contrasts) == {
        "prompt none→random-text": {none: 1, first: -0.5, second: -0.5},
        "prompt none→query": {none: 1, query: -1},
    }


def test_an_incomplete_crossing_keeps_what_its_cells_can_tell() -> None:
    """Without oracle × query: no interaction; main effects over the crossings that have both levels."""
    plan = plan_of({**TWO_BY_TWO, "exclude": [{"prefix": "oracle", "prompt": "query"}]})
    nn, nq, on = (cell.name for cell in plan.design.cells)
    assert (nn, nq, on) == (
        "prefix=none|prompt=none",
        "prefix=none|prompt=query",
        "prefix=oracle|prompt=none",
    )
    assert weights(plan.contrasts) == {
        "prefix none→oracle": {nn: 1, on: -1},
        "prompt none→query": {nn: 1, nq: -1},
    }
    # Each has one crossing, so that its simple effect is the same and does not stand, and count, again.
    assert {contrast.family for contrast in plan.contrasts} == {"main effects"}


def test_cells_without_any_common_crossing_are_compared_with_the_first() -> None:
    plan = plan_of({**TWO_BY_TWO, "cells": ["prefix=none|prompt=none", "prefix=oracle|prompt=query"]})
    first, second = (cell.name for cell in plan.design.cells)
    assert weights(plan.contrasts) == {f"{first} → {second}": {first: 1, second: -1}}
    assert plan.contrasts[0].family == "cells"
    assert automatic_contrasts(Design(plan.design.factors, plan.design.cells[:1])) == ()


def test_one_factor_that_does_not_vary_is_held() -> None:
    plan = plan_of({"factors": {"hidden": ["bos"], "prefix": PREFIX}})
    assert weights(plan.contrasts) == {
        "prefix none→oracle": {"hidden=bos|prefix=none": 1, "hidden=bos|prefix=oracle": -1}
    }
    assert plan.interaction is None


# Cells, aliases and contrasts that are named.


def test_a_design_by_hand() -> None:
    analysis = custom_analysis(
        {
            "title": "Mine",
            "question": "What?",
            "corpus": "reference-long",
            "n": 7,
            "seed": 5,
            "encoder_tokens": 300,
            "rows": "holding",
            "probes": ["budgets"],
            "correction": "bonferroni",
            "protocol": "published",
            "factors": {"prefix": ["none", "oracle"], "padding": ["none", 64]},
            "extra": [{"prefix": "keywords:3", "padding": 64}],
            "exclude": [{"prefix": "none", "padding": 64}],
            "aliases": {"bare": "prefix=none|padding=none", "full": {"padding": 64, "prefix": "oracle"}},
            "contrasts": [
                {"name": "one", "family": "f", "baseline": "bare", "treatment": "full"},
                {"baseline": ["bare", "full"], "treatment": "prefix=keywords:3|padding=64"},
                {
                    "name": "three",
                    "weights": {"bare": 2, "full": -1, "padding=64|prefix=keywords:3": -1},
                    "order": 2,
                },
            ],
            "share_contrasts": ["three", {"name": "own", "baseline": "full", "treatment": "bare"}],
            "splits": [{"total": "one", "parts": ["one", "three"]}],
            "headline": ["three"],
            "interaction": ["padding", "prefix"],
        }
    )
    assert (analysis.name, analysis.title, analysis.question) == (CUSTOM, "Mine", "What?")
    assert (analysis.corpus, analysis.n, analysis.seed, analysis.encoder_tokens) == (
        "reference-long",
        7,
        5,
        300,
    )
    assert analysis.protocol == "published"
    plan = analysis.plan("published")
    bare, mixed, full, extra = (
        "prefix=none|padding=none",
        "prefix=oracle|padding=none",
        "prefix=oracle|padding=64",
        "prefix=keywords:3|padding=64",
    )
    assert [(cell.name, cell.alias) for cell in plan.design.cells] == [
        (bare, "bare"),
        (mixed, ""),
        (full, "full"),
        (extra, ""),
    ]
    assert (plan.rows, plan.probes, plan.correction) == ("holding", ("budgets",), "bonferroni")
    assert weights(plan.contrasts) == {
        "one": {bare: 1, full: -1},
        f"{bare} + {full} → {extra}": {bare: 0.5, full: 0.5, extra: -1},
        "three": {bare: 2, full: -1, extra: -1},
    }
    assert [contrast.order for contrast in plan.contrasts] == [0, 0, 2]
    assert [contrast.name for contrast in plan.share_contrasts] == ["three", "own"]
    assert plan.splits[0].parts == (plan.contrasts[0], plan.contrasts[2])
    assert (plan.headline, plan.interaction) == (("three",), ("padding", "prefix"))


def refused(change: dict[str, Any], told: str) -> Any:
    return pytest.param(change, told, id=told[:40])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        refused({"factor": {}}, r"the design has no key 'factor'. Did you mean 'factors'\? Known: title,"),
        refused({"factors": {}}, "factors: expected one or more, got none"),
        refused({"factors": ["prefix"]}, "factors: expected a table with text keys, got list"),
        refused({"factors": {"prefix": "none"}}, "factors.prefix: expected a list, got str 'none'"),
        refused(
            {"factors": {"prefix": ["none", 1.5]}},
            r"factors.prefix\[1\]: expected text, got float 1.5; put it in quotes",
        ),
        refused(
            {"factors": {"prefix": ["none", True]}}, r"factors.prefix\[1\]: expected text, got bool True"
        ),
        refused(
            {"factors": {"prefix": ["none", "none"]}},
            "factors.prefix: factor 'prefix' needs one or more distinct",
        ),
        refused({"factors": {"prefix": ["a|b"]}}, "factors.prefix: level 'a|b' .* holds '|'"),
        refused({"n": "many"}, "n: expected a whole number of at least 1, got str 'many'"),
        refused({"n": 0}, "n: expected a whole number of at least 1, got int 0"),
        refused({"n": True}, "n: expected a whole number of at least 1, got bool True"),
        refused({"seed": -1}, "seed: expected a whole number of at least 0"),
        refused(
            {"rows": "predictin"},
            r"rows: expected one of predicting, holding, generated, got 'predictin'. Did you mean",
        ),
        refused(
            {"correction": "holmes"},
            r"correction: expected one of .*holm.*, got 'holmes'. Did you mean 'holm'",
        ),
        refused({"protocol": "mine"}, "protocol: expected one of corrected, published, got 'mine'"),
        refused({"probes": "budgets"}, "probes: expected a list, got str"),
        refused({"title": ""}, "title: expected text, got str ''"),
        refused({"cells": ["prefix=none"]}, r"cells\[0\]: prompt is missing; expected prefix, prompt"),
        refused({"cells": ["none"]}, r"cells\[0\]: expected factor=level\|factor=level .*, got 'none'"),
        refused({"cells": [{"prefx": "none"}]}, r"cells\[0\] has no key 'prefx'. Did you mean 'prefix'\?"),
        refused({"cells": [], "extra": []}, "cells lists every cell, so that extra has no place"),
        refused({"cells": []}, "the design has no cell left"),
        refused(
            {"cells": ["prefix=none|prompt=none"] * 2},
            "cells must differ; there twice: prefix=none|prompt=none",
        ),
        refused(
            {"exclude": [{"prefix": "random"}]},
            r"exclude\[0\]: no crossing has the levels {'prefix': 'random'}",
        ),
        refused({"exclude": [{}]}, "the design has no cell left"),
        refused(
            {"aliases": {"b": "prefix=none|prompt=x"}},
            r"aliases.b: no cell is called .* Did you mean 'prefix=none",
        ),
        refused(
            {"contrasts": [{"baseline": "x"}]},
            r"contrasts\[0\]: expected one of effect, baseline and treatment, or weights",
        ),
        refused(
            {"contrasts": [{"basline": "x"}]},
            r"contrasts\[0\] has no key 'basline'. Did you mean 'baseline'\?",
        ),
        refused(
            {"contrasts": [{"weights": {"prefix=none|prompt=none": 1}}]},
            r"contrasts\[0\]: the weights of .* sum to 1",
        ),
        refused(
            {"contrasts": [{"weights": {"prefix=none|prompt=none": "1"}}]},
            r"weights.prefix=.*: expected a finite number",
        ),
        refused({"share_contrasts": ["prefix"]}, r"share_contrasts\[0\]: no contrast is called 'prefix'"),
        refused({"splits": [{"total": "x"}]}, r"splits\[0\]: parts is missing; expected total, parts"),
        refused(
            {"headline": ["prefix none→oracl"]},
            r"headline\[0\]: no contrast .* Did you mean 'prefix none→oracle'\?",
        ),
        refused({"interaction": ["prefix"]}, "interaction: expected two or three factors"),
        refused(
            {"interaction": ["prefix", "prmpt"]},
            r"interaction\[1\]: expected one of prefix, prompt, got 'prmpt'. Did",
        ),
    ],
)
def test_what_a_design_may_not_hold(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        custom_analysis({**TWO_BY_TWO, **change})


def test_two_cells_of_one_alias_can_t_be_meant_by_it() -> None:
    both = ["prefix=none|prompt=none", "prefix=none|prompt=query"]
    design = {**TWO_BY_TWO, "aliases": {"bare": both}}
    assert [cell.alias for cell in plan_of(design).design.cells] == ["bare", "bare", "", ""]
    with pytest.raises(
        DesignError, match=r"baseline: 'bare' is the alias of 2 cells; give a name: prefix=none"
    ):
        plan_of({**design, "contrasts": [{"baseline": "bare", "treatment": "prefix=oracle|prompt=none"}]})


def test_a_design_without_factors_is_refused() -> None:
    with pytest.raises(DesignError, match="the design has no factors; give at least one"):
        custom_analysis({"title": "Mine"})
    with pytest.raises(DesignError, match="the design: expected a table with text keys, got list"):
        custom_analysis([])


# Files.

PLANS = [(name, protocol) for name, maker in available_analyses().items() for protocol in maker().plans]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("name", "protocol"), PLANS)
def test_every_analysis_s_design_as_a_file_is_read_back_the_same(
    name: str, protocol: str, form: str, tmp_path: Path
) -> None:
    analysis = find_analysis(name)
    path = tmp_path / f"design.{form}"
    path.write_text(write_design(design_mapping(analysis, protocol), form), encoding="utf-8")
    back = custom_analysis(read_design(path))
    plan = analysis.plan(protocol)
    # Cells, aliases, contrasts, splits, rows, probes, correction, axes and headlines: frozen data all the way.
    assert back.plan(protocol) == plan
    assert (back.title, back.question, back.corpus, back.n, back.seed, back.encoder_tokens) == (
        analysis.title,
        analysis.question,
        analysis.corpus,
        analysis.n,
        analysis.seed,
        analysis.encoder_tokens,
    )


ODD = [
    'quo"te',
    "back\\slash",
    "tab\tline\n",
    "del\x7f",
    "ünï⟨→⟩",
    "#2",
    "a,b",
    "[x]",
    "null",
    "1e3",
    "yes",
    "'",
]


@pytest.mark.parametrize("form", FORMATS)
def test_files_keep_every_character(form: str, tmp_path: Path) -> None:
    mapping = {
        "title": ODD[0],
        "n": 3,
        "factors": {"prefix": [f"literal:{text}" for text in ODD], **{text: ["none"] for text in ODD}},
        "contrasts": [{"name": text, "weights": {"a": 1 / 3, "b": -1e-9, "c": 2}} for text in ODD],
        "splits": [{"total": {"name": ODD[1], "weights": {"x|y=z": 1.0}}, "parts": ["p"]}],
        "share_contrasts": ["name", {"name": "inline", "baseline": ["a", "b"]}],
        "headline": [],
    }
    path = tmp_path / f"design.{form}"
    text = write_design(mapping, form)
    path.write_text(text, encoding="utf-8")
    assert read_design(path) == mapping
    # Other readers agree.
    assert (tomllib.loads(text) if form == "toml" else yaml.safe_load(text)) == mapping


def test_merge_keys_of_yaml(tmp_path: Path) -> None:
    """A key of the mapping's own stands above a merged one, whatever the order in which mappings are made."""
    path = tmp_path / "a.yaml"
    path.write_text(
        "factors:\n  <<: {prefix: [none, oracle], prompt: [none]}\n  prompt: [none, query]\n"
        "aliases:\n  deep: {x: &two {<<: &one {prefix: none, prompt: none}, prompt: query}}\n  other: {<<: *two}\n"
        "splits: [{<<: [{a: 1, b: 2}, {b: 3, c: 4}], a: 0}]\n"
    )
    assert read_design(path) == {
        "factors": {"prefix": ["none", "oracle"], "prompt": ["none", "query"]},
        "aliases": {
            "deep": {"x": {"prefix": "none", "prompt": "query"}},
            "other": {"prefix": "none", "prompt": "query"},
        },
        "splits": [{"a": 0, "b": 2, "c": 4}],
    }


DOUBLING = "".join(f"a{number}: &a{number} [*a{number - 1}, *a{number - 1}]\n" for number in range(1, 60))
MERGING = "".join(
    f"a{number}: &a{number} {{<<: [*a{number - 1}, *a{number - 1}]}}\n" for number in range(1, 60)
)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.yaml", "factors: " + "[" * 100_000, "nested more than 60 deep, line 1"),
        (
            "a.yaml",
            "\n".join(" " * depth + "a:" for depth in range(900)),
            "nested more than 60 deep, line 60",
        ),
        ("a.toml", "a = " + "[" * 100_000 + "]" * 100_000, "is nested too deeply to be read"),
        ("a.toml", "a = " + "{a=" * 50_000, "is nested too deeply to be read"),
        ("a.toml", ".".join("a" * 100_000) + " = 1", "line 1: holds more than 200 dots"),
        ("a.toml", "[" + ".".join("a" * 100_000) + "]", "line 1: holds more than 200 dots"),
        ("a.yaml", "a0: &a0 [x, x]\n" + DOUBLING + "factors: {prefix: [none, *a59]}", "no key 'a0'"),
        ("a.yaml", "factors: {prefix: &a [none, *a]}", r"factors.prefix\[1\]: expected text, got list"),
        ("a.yaml", "a0: &a0 {x: 1}\n" + MERGING, "merge keys give more than 10000 keys"),
        ("a.yaml", "n: " + "9" * 5_000, "is no YAML: a whole number has thousands of digits"),
        ("a.toml", "n = " + "9" * 5_000, "is no TOML: a whole number has thousands of digits"),
        ("a.yaml", "n: 2024-99-99", "is no YAML: month must be in"),
        ("a.yaml", "<<: {n: 1}\n<<: {n: 2}", "the key '<<' is there twice, line 1 and line 2"),
        ("a.yaml", "#" * 1_000_001, "holds 1,000,001 characters; a design has at most 1,000,000"),
    ],
    ids=range(14),
)
def test_hostile_files_end_soon_and_in_one_sentence(
    name: str, content: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    begun = time.monotonic()
    with pytest.raises(DesignError, match=told) as refused:
        custom_analysis(read_design(path))
    assert len(str(refused.value)) < 1_000
    # Some took half a minute.
    assert time.monotonic() - begun < 10


def test_values_that_share_themselves_are_told_shortly(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "factors: {prefix: [none, oracle]}\nextra:\n- &a0 [x, x]\n" + re.sub(r"a\d+: ", "- ", DOUBLING)
    )
    with pytest.raises(DesignError, match=r"extra\[0\]: expected a table") as refused:
        custom_analysis(read_design(path))
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", "{}", "a design is read from .toml, .yaml, .yml; got '.json'"),
        ("a.toml", "factors = [", "a.toml is no TOML: "),
        ("a.toml", "n = 1\nn = 2", "a.toml is no TOML: "),
        ("a.yaml", "factors: [", "a.yaml is no YAML: "),
        ("a.yml", "n: 1\nn: 2", "a.yml is no YAML: the key 'n' is there twice, line 1"),
        (
            "a.yml",
            "factors:\n  prefix: [none]\n  prefix: [oracle]",
            "the key 'prefix' is there twice, line 2",
        ),
        ("a.yaml", "- 1", "a.yaml holds a list; expected a table with factors"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "a.yaml is no YAML: "),
        ("a.toml", b"\xff\xfe", "can't be read as text"),
    ],
)
def test_unreadable_files(name: str, content: str | bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DesignError, match=told):
        read_design(path)
    with pytest.raises(DesignError, match="can't be read as text"):
        read_design(tmp_path / "absent.toml")


# Options.


def test_levels_on_the_command_line() -> None:
    assert factor_argument("prefix=none,oracle,keywords:10") == ("prefix", ("none", "oracle", "keywords:10"))
    assert factor_argument(r"prefix=literal:yes\, sir,none") == ("prefix", ("literal:yes, sir", "none"))
    assert factor_argument("state_patching=none,document<-prefix=oracle@final") == (
        "state_patching",
        ("none", "document<-prefix=oracle@final"),
    )
    assert split_levels("a") == ("a",)
    for wrong in ("prefix", "=none", "prefix="):
        with pytest.raises(Exception, match="expected NAME=LEVEL,LEVEL… such as"):
            factor_argument(wrong)


def test_knockouts_are_a_factor_of_their_own() -> None:
    design = design_of(
        [("prefix", ("none", "oracle"))],
        ["answer->bos@20-33", "answer->document@2/h1+5@4/h0-3,answer->eos@0"],
        None,
    )
    assert design == {
        "factors": {
            "prefix": ["none", "oracle"],
            "knockout": [
                "none",
                "answer->bos@20-33",
                "answer->document@2/h1+5@4/h0-3",
                "answer->eos@0",
                # As many heads by chance, which the named ones are held against.
                *(f"answer->document@2/random:2@4/random:4#{draw}" for draw in range(1, 21)),
            ],
        }
    }
    assert len(custom_analysis(design).plan("corrected").design.cells) == 2 * 24
    assert "knockout" in available_interventions()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((None, None, None), "a custom design needs --factor NAME=LEVEL,LEVEL"),
        (
            ([("prefix", ("none",))], None, Path("a.toml")),
            "--design a.toml holds the factors; leave --factor",
        ),
        (
            ([("prefix", ("a",)), ("prefix", ("b",))], None, None),
            "--factor prefix is given twice; .* prefix=a,b",
        ),
        (
            ([("knockout", ("none",))], ["answer->bos"], None),
            "--knockout and --factor knockout=… name the same",
        ),
    ],
)
def test_options_that_make_no_design(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        design_of(*given)


def test_designs_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["design", "exp08", "--protocol", "published", "--format", "yaml"]) == 0
    path = tmp_path / "printed.yaml"
    path.write_text(capsys.readouterr().out)
    assert custom_analysis(read_design(path)).plan("published") == find_analysis("exp08").plan("published")
    assert main(["design", "custom", "--design", str(path)]) == 0
    assert tomllib.loads(capsys.readouterr().out)["rows"] == "holding"
    assert main(["design", "exp08", "--factor", "prefix=none"]) == 2
    assert "--factor describes a design of your own; exp08 has its own" in capsys.readouterr().err
    assert main(["design", "custom", "--design", str(path), "--protocol", "corrected"]) == 2
    assert "custom has no protocol 'corrected'; it has published" in capsys.readouterr().err


# What a manifest keeps.


def kept_of(analysis: Analysis, protocol: str) -> dict[str, Any]:
    """What run.json keeps of an analysis, as `analysis_of` takes it."""
    details = design_details(analysis, protocol)
    return {
        "name": details["analysis"],
        "design": details["design"],
        "protocol": details["protocol"],
        "cells": [cell["name"] for cell in details["cells"]],
    }


def test_a_manifest_is_enough_to_make_the_analysis_again() -> None:
    exp08 = find_analysis("exp08")
    kept = kept_of(exp08, "published")
    assert analysis_of(**kept).plans.keys() == exp08.plans.keys()
    # A plugin's analysis that is gone, and one whose cells are others by now.
    gone = {**kept, "name": "acme"}
    assert analysis_of(**gone).plan("published") == exp08.plan("published")
    assert analysis_of(**gone).name == "acme"
    fewer = replace(exp08.plan("published").design, cells=exp08.plan("published").design.cells[:2])
    first, second = (cell.name for cell in fewer.cells)
    old = replace(
        exp08,
        plans={
            "published": Plan(
                design=fewer,
                rows="holding",
                probes=("budgets",),
                contrasts=(Contrast("old", "old", {first: 1.0, second: -1.0}),),
            )
        },
    )
    assert analysis_of(**kept_of(old, "published")).plan("published").contrasts[0].name == "old"
    # Without a design only what is registered can be found.
    with pytest.raises(RegistryError, match="no analysis is called 'acme'"):
        analysis_of("acme", None, "published", [])
    assert analysis_of("exp08", None, "published", []).name == "exp08"


def test_a_custom_design_is_kept_whole() -> None:
    custom = custom_analysis({**TWO_BY_TWO, "title": "Mine", "seed": 9})
    back = analysis_of(**kept_of(custom, "corrected"))
    assert back == custom


# Identity.


def test_files_count_by_content_and_not_by_place(tmp_path: Path) -> None:
    steering = available_interventions()["steering"]
    paths = [tmp_path / "one.npy", tmp_path / "deeper" / "two.npy", tmp_path / "three.npy"]
    paths[1].parent.mkdir()
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        numpy.save(path, numpy.random.default_rng(seed).normal(size=4))
    hashes = [file_hashes([steering.parse(f"document:2:{path}@final")]) for path in paths]
    assert hashes[0] == hashes[1] != hashes[2]
    assert [len(found) for found in hashes] == [1, 1, 1]
    assert file_hashes([steering.parse("none")]) == []
    lost = steering.parse(f"document:2:{paths[0]}@final")
    paths[0].unlink()
    with pytest.raises(ValueError, match="one.npy, which can't be read"):
        file_hashes([lost])


def test_a_design_s_interventions_name_the_cell_that_fails() -> None:
    with pytest.raises(
        RegistryError, match=r"cell prefx=none: no intervention is called 'prefx'. Did you mean"
    ):
        _ = crossed((Factor("prefx", ("none",)),)).interventions
