"""Registries: what is refused and how it is told, for interventions, probes and analyses alike."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

import analyses
import interventions
import probes
from budgetlens.command.inventory import inventory
from budgetlens.design.catalogue import available_analyses, find_analysis
from budgetlens.design.intervention import Intervention, LevelError, available_interventions
from budgetlens.model.observation import available_probes, chosen_probes, outcome_name, read_probes
from budgetlens.registry.discovery import plugin_of
from budgetlens.registry.names import RegistryError, lookup, name_of
from budgetlens.registry.parameters import ParameterError, from_text, parameters_of, split_draw
from budgetlens.registry.registering import registered
from budgetlens.runs.run import Run
from tests.conformance import Bench, check_identity, check_sample
from tests.conftest import write_corpus
from tests.distributions import THIRD_PARTY, install, write_metadata

ROOT = Path(__file__).parents[1]
MODULE = "budgetlens_plugin"

#: A sound thing of each kind, called NAME.
SOUND = {
    "intervention": """
        from dataclasses import dataclass
        from budgetlens.design.intervention import Intervention, intervention
        @intervention("NAME")
        @dataclass(frozen=True)
        class Plugin(Intervention):
            def apply(self, trial, context):
                return trial
        """,
    "probe": """
        from dataclasses import dataclass
        from budgetlens.model.declaration import Declaration
        from budgetlens.model.observation import probe
        @probe("NAME")
        @dataclass(frozen=True)
        class Plugin:
            declares = Declaration("Things", (), "part")
            def categories(self, site): return ()
            def observe(self, attention): return {}
        """,
    "analysis": """
        from dataclasses import replace
        from budgetlens.design.analysis import analysis
        from budgetlens.design.catalogue import find_analysis
        @analysis("NAME")
        def plugin():
            return replace(find_analysis("exp08"), name="NAME")
        """,
}
PACKAGES = {"intervention": interventions, "probe": probes, "analysis": analyses}
AVAILABLE = {
    "intervention": available_interventions,
    "probe": available_probes,
    "analysis": available_analyses,
}
PLURAL = {"intervention": "interventions", "probe": "probes", "analysis": "analyses"}
#: A name of this project's own and a misspelling of it.
OWN = {"intervention": ("prefix", "prefx"), "probe": ("budgets", "budgts"), "analysis": ("exp08", "exp80")}
KINDS = tuple(SOUND)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a distribution with one module on the path."""

    def make(kind: str, code: str, value: str = MODULE, name: str = "acme-plugin") -> None:
        (tmp_path / f"{MODULE}.py").write_text(textwrap.dedent(code))
        write_metadata(tmp_path, name, "0.3", {f"budgetlens.{PLURAL[kind]}": {"point": value}})
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    yield make
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [MODULE, "object"])
def test_another_distribution_s_thing_is_found(kind: str, value: str, plugin: Any) -> None:
    attribute = "plugin" if kind == "analysis" else "Plugin"
    plugin(kind, SOUND[kind].replace("NAME", "thing"), value if value == MODULE else f"{MODULE}:{attribute}")
    found = AVAILABLE[kind]()["thing"]
    assert found.__module__ == MODULE
    assert plugin_of(found, f"budgetlens.{PLURAL[kind]}") == ("acme-plugin", "0.3")
    own = AVAILABLE[kind]()[OWN[kind][0]]
    assert plugin_of(own, f"budgetlens.{PLURAL[kind]}") is None
    assert "thing" in inventory((PLURAL[kind],))[PLURAL[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_gets_the_nearest(kind: str) -> None:
    right, wrong = OWN[kind]
    with pytest.raises(
        RegistryError, match=rf"no {kind} is called '{wrong}'. Did you mean '{right}'\? Known: "
    ):
        lookup(kind, wrong, AVAILABLE[kind]())


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_of_ours_is_taken(kind: str, plugin: Any) -> None:
    name = OWN[kind][0]
    plugin(kind, SOUND[kind].replace("NAME", name))
    with pytest.raises(
        RegistryError,
        match=rf"two {PLURAL[kind]} are called '{name}': .*{MODULE}.[Pp]lugin; rename one of them",
    ):
        AVAILABLE[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_two_modules_of_the_package_with_one_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[kind]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    for module in ("first_newcomer", "second_newcomer"):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(SOUND[kind].replace("NAME", "thing")))
    importlib.invalidate_caches()
    with pytest.raises(
        RegistryError, match=rf"two {PLURAL[kind]} are called 'thing': .*first_newcomer.*second_newcomer"
    ):
        AVAILABLE[kind]()
    for module in ("first_newcomer", "second_newcomer"):
        sys.modules.pop(f"{package.__name__}.{module}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import torch_of_tomorrow", "ModuleNotFoundError: No module named 'torch_of_tomorrow'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError: "),
    ],
)
def test_a_plugin_that_can_t_be_loaded_is_named(kind: str, code: str, told: str, plugin: Any) -> None:
    plugin(kind, code)
    with pytest.raises(RegistryError) as caught:
        AVAILABLE[kind]()
    message = str(caught.value)
    assert message.startswith(
        f"the entry point 'point = {MODULE}' of distribution acme-plugin 0.3 can't be loaded as {kind}: {told}"
    )
    assert message.endswith("Correct or uninstall that distribution")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_attribute_and_an_empty_module_are_named(kind: str, plugin: Any) -> None:
    plugin(kind, "x = 1", f"{MODULE}:nothing")
    with pytest.raises(RegistryError, match=r"distribution acme-plugin 0.3 can't be loaded as .*'nothing'"):
        AVAILABLE[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_point_without_anything_registered_is_named(kind: str, plugin: Any) -> None:
    plugin(kind, "x = 1")
    with pytest.raises(
        RegistryError, match=rf"acme-plugin 0.3 holds nothing registered as {kind}; mark .*@{kind}"
    ):
        AVAILABLE[kind]()


#: Kind, what is replaced in the sound thing, by what, and what the error tells.
WRONG = [
    (
        "intervention",
        "frozen=True",
        "frozen=False",
        "is not frozen; expected a frozen dataclass with apply, parse",
    ),
    (
        "intervention",
        "@dataclass(frozen=True)",
        "",
        "is not frozen; .* write @dataclass\\(frozen=True\\) under",
    ),
    ("intervention", "apply", "aply", "has no apply; expected a frozen dataclass"),
    ("intervention", "(Intervention)", "", "has no parse, files, sample_levels, identity_levels; expected"),
    (
        "intervention",
        "class Plugin(Intervention):",
        "def plugin():",
        "is no class; expected a frozen dataclass",
    ),
    ("probe", "frozen=True", "frozen=False", "is not frozen; expected a frozen dataclass with declares"),
    ("probe", "observe", "look", "has no observe; expected a frozen dataclass"),
    ("probe", "declares =", "declare =", "has no declares; expected"),
    (
        "analysis",
        "def plugin():\n            return",
        "class plugin:\n            made = lambda:",
        "is no function; register",
    ),
]


@pytest.mark.parametrize(("kind", "old", "new", "told"), WRONG)
def test_a_thing_of_the_wrong_type_is_refused(kind: str, old: str, new: str, told: str, plugin: Any) -> None:
    code = SOUND[kind].replace("NAME", "thing")
    assert old in code
    if new.startswith("def plugin"):
        code = code.replace("@dataclass(frozen=True)", "").replace(
            "def apply(self, trial, context):", "if True:"
        )
    plugin(kind, code.replace(old, new))
    with pytest.raises(RegistryError, match=rf"{kind} 'thing' \({MODULE}.[Pp]lugin\) {told}"):
        AVAILABLE[kind]()


@pytest.mark.parametrize("name", ["", "two words", "a=b", "a|b", "a,b", "1st", "ä:b"])
def test_a_name_that_would_part_cells_is_refused(name: str) -> None:
    with pytest.raises(RegistryError, match="is no name of a intervention|is no name of an intervention"):
        registered("intervention", name)


# Parameters.


@dataclass(frozen=True)
class Sample:
    """Every type that text can give."""

    text: str
    count: int = 3
    share: float = 0.5
    on: bool = False
    most: int | None = None
    unit: Literal["words", "tokens"] = "words"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hey", Sample("hey")),
        ("hey:7:0.25:yes:9:tokens", Sample("hey", 7, 0.25, True, 9, "tokens")),
        ("hey:count=7", Sample("hey", 7)),
        ("unit=tokens:text=hey:most=none:on=FALSE", Sample("hey", unit="tokens")),
        (r"a\:b\:c:4", Sample("a:b:c", 4)),
        ("text=count=4", Sample("count=4")),
        (":4", Sample("", 4)),
    ],
)
def test_parameters_by_place_and_by_name(text: str, expected: Sample) -> None:
    assert from_text(Sample, text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "hey:cuont=7",
            r"Sample has no parameter 'cuont'. Did you mean 'count'\? It takes text: str, count: int = 3",
        ),
        ("hey:seven", "Sample.count must be int; got 'seven'"),
        ("hey:share=half", "Sample.share must be float; got 'half'"),
        ("hey:on=perhaps", "Sample.on must be bool; got 'perhaps'"),
        ("hey:most=many", "Sample.most must be int; got 'many'"),
        ("hey:unit=word", r"Sample.unit is one of words, tokens; got 'word'. Did you mean 'words'\?"),
        (
            "hey:1:2:no:3:words:6",
            r"Sample takes at most 6 value\(s\) \(text, count, share, on, most, unit\); got",
        ),
        ("count=7:hey", "'hey' comes after a value by name"),
        ("hey:text=you", "Sample.text is given twice"),
        ("", "Sample needs a value for text; got ''"),
        ("count=2", "Sample needs a value for text"),
    ],
)
def test_unknown_and_ill_typed_parameters(text: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        from_text(Sample, text)


def test_parameters_in_words() -> None:
    assert [str(parameter) for parameter in parameters_of(Sample)] == [
        "text: str",
        "count: int = 3",
        "share: float = 0.5",
        "on: bool = False",
        "most: int | none = None",
        "unit: 'words' | 'tokens' = 'words'",
    ]


def test_levels_raise_level_errors() -> None:
    @dataclass(frozen=True)
    class Counted(Intervention):
        count: int = 1

        def apply(self, trial: Any, context: Any) -> Any:
            return trial

    assert Counted.parse("4") == Counted.parse("count=4") == Counted(4)
    with pytest.raises(LevelError, match=r"Counted has no parameter 'k'. It takes count: int = 1"):
        Counted.parse("k=4")


def test_probes_take_parameters_but_not_their_records_names(plugin: Any) -> None:
    plugin(
        "probe",
        SOUND["probe"].replace("NAME", "thing").replace("declares =", "k: int = 1\n            declares ="),
    )
    (probe,) = chosen_probes(("thing:k=3",))
    assert (probe.k, probe.declares.axis) == (3, "part")  # type: ignore[attr-defined]
    with pytest.raises(ParameterError, match=r"Plugin has no parameter 'declares'. It takes k: int = 1"):
        chosen_probes(("thing:declares=role",))
    with pytest.raises(RegistryError, match=r"no probe is called 'budgts'. Did you mean 'budgets'\?"):
        chosen_probes(("budgts",))
    with pytest.raises(ValueError, match="the probe 'thing' is named twice"):
        chosen_probes(("thing:k=3", "thing"))
    assert "parameters: k: int = 1" in inventory(("probes",))["probes"]["thing"]


def test_a_meant_custom_is_named() -> None:
    with pytest.raises(RegistryError, match=r"no analysis is called 'custm'. Did you mean 'custom'\?"):
        find_analysis("custm")


# A distribution of someone else's, in a run.


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of ``tests/third_party``, installed into a folder that is on the path."""
    target = install(THIRD_PARTY, tmp_path / "site")
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()
    yield target
    sys.modules.pop("budgetlens_shout", None)


def test_a_third_party_s_intervention_conforms(third_party: Path, loaded: Any) -> None:
    from budgetlens.model.trials import Example

    examples = tuple(
        Example(f"{n}", f"who built the wall {n}", f"The wall {n}.", "Orla Venn") for n in range(3)
    )
    bench = Bench(loaded("t5"), examples)
    shout = available_interventions()["shout"]
    for level in shout.sample_levels:
        assert check_sample(shout, level, bench)
    check_identity(shout, "none", bench)


@pytest.mark.slow
def test_a_third_party_s_intervention_and_probe_work_in_a_run(tmp_path: Path, tiny_directory: Path) -> None:
    """A process of its own, in which only the path tells of the other distribution."""
    site, out = install(THIRD_PARTY, tmp_path / "site"), tmp_path / "run"
    corpus = write_corpus(tmp_path / "corpus.jsonl", 4)
    given = ["run", "custom", "--factor", "shout=none,loud:2", "--probes", "budgets,peak:power=2"]
    given += ["--model", str(tiny_directory), "--corpus", str(corpus), "--out", str(out), "--quiet"]
    result = subprocess.run(
        [sys.executable, "-m", "budgetlens.command.main", *given, "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    # The distribution is not here, in this process, and its run can still be read.
    assert "shout" not in available_interventions()
    run = Run.open(out)
    peak = run.records("peak")
    shares = run.records("budgets")
    keys = ["example", "cell", "layer", "head"]
    assert set(peak["cell"]) == {"shout=none", "shout=loud:2"}
    # Rows are averaged after the power was taken, so that one-token answers alone could be compared exactly.
    largest = shares.groupby(keys, observed=True)["share"].max()
    found = peak.set_index(keys)["peak"].loc[largest.index]
    assert ((found >= largest**2 - 1e-6) & (found <= 1)).all()
    trials = run.trials.set_index(["cell", "example"])["answer_tokens"]
    assert (trials["shout=loud:2"] > trials["shout=none"]).all()
    assert run.manifest.identity["plugins"] == {"budgetlens-shout": "1.2.3"}
    assert run.manifest.identity["probes"] == ["budgets", "peak:power=2"]
    assert [cell.name for cell in run.plan.design.cells] == [
        "shout=none",
        "shout=loud:2",
    ]


def test_a_draw_of_thousands_of_digits_is_refused_in_a_short_sentence() -> None:
    assert split_draw("random-text#2") == ("random-text", 2)
    assert split_draw("random-text#0") == ("random-text#0", 0)
    with pytest.raises(ValueError, match="the draw after '#' in 'random' has 5,000 digits") as refused:
        split_draw("random#" + "9" * 5000)
    assert len(str(refused.value)) < 200


def test_exactly_one_probe_is_the_outcome_of_every_run() -> None:
    declared = {name: made.declares for name, made in available_probes().items()}
    assert outcome_name(declared) == "likelihood"
    assert [name_of(probe) for probe in read_probes(("budgets",))] == ["likelihood", "budgets"]
    assert [name_of(probe) for probe in read_probes(("budgets", "likelihood"))] == ["budgets", "likelihood"]
    with pytest.raises(
        RegistryError, match=r"2 probes declare outcome=True \(likelihood, second\); exactly one"
    ):
        outcome_name({**declared, "second": declared["likelihood"]})
    with pytest.raises(RegistryError, match="0 probes declare outcome=True"):
        outcome_name({name: own for name, own in declared.items() if not own.outcome})
    with pytest.raises(
        ValueError, match="can't be a run's outcome: expected one quantity .* got .*'share'.* by 'role'"
    ):
        replace(declared["budgets"], outcome=True)
