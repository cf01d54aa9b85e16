"""Measuring from Python: factors with their levels, probes, and one long DataFrame of what they saw."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.custom import ROWS
from budgetlens.design.design import Design, Factor, crossed
from budgetlens.design.intervention import Intervention, LevelError, available_interventions
from budgetlens.face.arguments import layer_numbers, optional_number, several
from budgetlens.face.levels import level_of, made_of, probe_text
from budgetlens.face.model import Model
from budgetlens.model.declaration import Declaration
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import chosen_probes, read_probes
from budgetlens.registry.names import RegistryError, name_of, nearest
from budgetlens.runs.measuring import measured
from budgetlens.runs.running import RunOptions

#: A level as a person gives it: its text, or an instance of the intervention.
Level = str | Intervention

#: The cell of a measurement without factors.
BARE = "bare"

#: Columns of records that say where in the model something was seen, and what they are called in a frame.
SITE = {"stack": "side", "block": "block", "layer": "layer", "head": "head"}


def measure(
    model: Model,
    corpus: Corpus,
    *,
    probes: str | Any | Sequence[str | Any] | None = None,
    rows: str = ROWS[0],
    layers: int | Sequence[int] | None = None,
    encoder_rows: bool = False,
    batch_tokens: int | None = None,
    **factors: Level | Sequence[Level],
) -> pd.DataFrame:
    """Every example of a corpus under every crossing of some levels, read by some probes: what was seen, in long form.

    Args:
        model: from ``bl.load_model`` or ``bl.wrap``.
        corpus: from ``bl.read_corpus`` or ``bl.corpus``; its seed is that of every random choice.
        probes: names (``"budgets"``, ``"entropies"``), instances or classes, of a notebook as well;
            None reads the answer's likelihood alone.
        rows: whose attention is read: ``predicting`` (the rows that predict the answer's tokens), ``holding``, or
            ``generated`` (those that predict the tokens of the model's own greedy answer).
        layers: decoder layers that are read, from 0; None reads all.
        encoder_rows: reads the encoder's document rows as well.
        batch_tokens: padded positions per batch; None chooses by device.
        factors: by the name of an intervention its level, or several that are crossed in the order given; each a text
            (``prefix=["none", "oracle"]``) or an instance (``hint=["none", Hint("It may help")]``), of a notebook's class
            as well. Without any, the document alone is in the encoder and the answer in the decoder.

    Returns:
        One row per example, cell and observation, in the corpus's and the design's order. Columns: example, cell, one per
        factor (its level), probe, where it was seen (side, block, layer, head; head -1 is the average over heads) and the
        probe's own axis (role, part, …), all empty where a probe has none, then quantity and value, in the unit that the
        probe declares. Every value is the one that the command records of these cells. ``attrs["left_out"]`` tells by
        example why it is in no cell.

    Raises:
        LevelError: a level that its intervention can't be made from. RegistryError: an unknown name or class.
        EditError: a level that changes nothing in any example, or an edit that no layer of the model has.
        ValueError: layers that the model lacks, no probe, or one twice. RunError: a trial that does not fit into memory.

    Examples:
        >>> import budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=2)
        >>> frame = bl.measure(model, corpus, prefix=["none", "oracle"], probes=["likelihood", "budgets"])
        >>> sorted(frame["cell"].unique()), sorted(frame["quantity"].unique())
        (['prefix=none', 'prefix=oracle'], ['nll', 'share'])
        >>> nll = frame[frame["probe"] == "likelihood"].pivot(index="example", columns="prefix", values="value")
        >>> nll.shape
        (2, 2)
    """
    design = design_of(factors)
    read = read_probes(()) if probes is None else chosen_probes(probe_texts(probes))
    declared = {name_of(probe): probe.declares for probe in read}
    _require_own_columns(factors, declared.values())
    options = RunOptions(
        seed=corpus_given(corpus).seed,
        layers=layer_numbers(layers),
        batch_tokens=optional_number("batch_tokens", batch_tokens, 1),
        encoder_rows=encoder_rows,
    )
    seen = measured(design, loaded_of(model), corpus, read, known_rows(rows), options)
    absent = [name for name in declared if name not in seen.records]
    if absent:
        raise ValueError(
            f"the probe {absent[0]!r} observed nothing in what was read of this model; name other layers, or read the "
            "encoder's rows as well (encoder_rows=True)"
        )
    tables = [_long(name, own, seen.records[name], design) for name, own in declared.items()]
    frame = _in_order(pa.concat_tables(tables, promote_options="default"), corpus, design)
    frame.attrs["left_out"] = dict(seen.left_out)
    return frame


def loaded_of(model: Model) -> LoadedModel:
    """The engine's model of what a person loaded. ValueError for anything else."""
    if not isinstance(model, Model):
        raise ValueError(
            f"a model is what bl.load_model(name) or bl.wrap(hf_model, tokenizer) gives; got {type(model).__name__}"
        )
    return model.loaded


def corpus_given(given: Corpus) -> Corpus:
    """What ``bl.read_corpus`` or ``bl.corpus`` gave. ValueError for anything else."""
    if not isinstance(given, Corpus):
        raise ValueError(
            f"a corpus is what bl.read_corpus(name) or bl.corpus(rows) gives; got {type(given).__name__}"
        )
    return given


def known_rows(rows: str) -> str:
    """Rows that somebody reads. ValueError for others."""
    if rows not in ROWS:
        raise ValueError(f"rows is {rows!r}; expected one of {', '.join(ROWS)}")
    return rows


def _require_own_columns(factors: Collection[str], declared: Iterable[Declaration]) -> None:
    """Raise ValueError for a factor that is called as another column of the frame."""
    taken = {
        "example",
        "cell",
        "probe",
        "quantity",
        "value",
        *SITE.values(),
        *(each.axis for each in declared),
    }
    doubled = sorted(taken & set(factors))
    if doubled:
        raise ValueError(
            f"the factor {doubled[0]!r} is called as a column that the frame has already; register the intervention under "
            "another name"
        )


def design_of(factors: Mapping[str, Level | Sequence[Level]]) -> Design:
    """The design that crosses factors, each with one level or several, as texts or instances.

    Raises LevelError, RegistryError and ValueError (a level twice) that name the factor.
    """
    known = available_interventions()
    for name in factors:
        if name not in known:
            raise RegistryError(
                f"{name!r} is neither an option nor an intervention.{nearest(name, known)} Every further keyword is a "
                f"factor with its levels, one of {', '.join(known)}"
            )
    return crossed(
        [
            Factor(name, tuple(level_text(name, level) for level in several(given)))
            for name, given in factors.items()
        ]
    )


def level_text(factor: str, given: Level) -> str:
    """The text of a level of ``factor``. Raises as :func:`budgetlens.face.levels.level_of`, and for another's level."""
    if isinstance(given, str):
        return level_of(f"{factor}={given}")[1]
    name, level = level_of(given)
    if name != factor:
        raise LevelError(
            f"{given!r} is a level of {name!r} and was given as one of {factor!r}; write {name}=[…]"
        )
    return level


def probe_texts(probes: str | Any | Sequence[str | Any]) -> tuple[str, ...]:
    """Probes as a run names them, from names, instances and classes. ValueError for none."""
    texts = tuple(
        # A class stands for the probe with its defaults.
        probe_text(made_of(given))
        for given in several(probes)
    )
    if not texts:
        raise ValueError("no probe is named; give one or more, such as probes=['likelihood', 'budgets']")
    return texts


def _long(name: str, declared: Declaration, records: pa.Table, design: Design) -> pa.Table:
    """Records of one probe with a row per quantity."""
    trials = records["cell"].combine_chunks()
    cells = trials.dictionary.to_pylist()

    def along(of_cells: Sequence[str]) -> pa.Array:
        """What each cell has, a row per observation."""
        return pa.array(of_cells, pa.string()).take(trials.indices)

    columns: dict[str, Any] = {
        "example": records["example"].cast(pa.string()),
        "cell": along([cell or BARE for cell in cells]),
        **{
            factor.name: along([design.by_name[cell].factors[factor.name] for cell in cells])
            for factor in design.factors
        },
        "probe": pa.repeat(name, len(records)),
    }
    for column, called in SITE.items():
        if column in records.column_names:
            own = records[column]
            columns[called] = own.cast(pa.string()) if pa.types.is_dictionary(own.type) else own
    if declared.axis:
        columns[declared.axis] = records[declared.axis].cast(pa.string())
    return pa.concat_tables(
        [
            pa.table(
                {
                    **columns,
                    "quantity": pa.repeat(quantity.name, len(records)),
                    "value": records[quantity.name],
                }
            )
            for quantity in declared.quantities
        ]
    )


def _in_order(table: pa.Table, corpus: Corpus, design: Design) -> pd.DataFrame:
    """The rows by the corpus's and the design's order, where and what was seen behind the probe, then the number."""
    ends = ("quantity", "value")
    table = table.select([*(name for name in table.column_names if name not in ends), *ends])
    frame = table.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get)
    examples = {example.identifier: number for number, example in enumerate(corpus.examples)}
    cells = {name or BARE: number for number, name in enumerate(design.by_name)}
    places = pd.DataFrame({"example": frame["example"].map(examples), "cell": frame["cell"].map(cells)})
    order = places.sort_values(["example", "cell"], kind="stable").index
    return frame.loc[order].reset_index(drop=True)
