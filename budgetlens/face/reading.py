"""A reading: what a model does with some texts, measured once and asked for in many ways."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from budgetlens.design.intervention import Intervention
from budgetlens.face.activations import Activations, save_trial
from budgetlens.face.arguments import layer_numbers, optional_number, path_given, several
from budgetlens.face.attention import Attention, attention_of
from budgetlens.face.given import SEED, fed_texts
from budgetlens.face.levels import made_of, own_name
from budgetlens.face.top_tokens import TopTokens, top_table
from budgetlens.model.answering import answered_trial, generate
from budgetlens.model.capture import Probing
from budgetlens.model.decoding import ANSWER_TOKENS, Decoding
from budgetlens.model.generation import generated_answer
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import (
    ACTIVATIONS,
    AnswerObservation,
    GeneratedAnswer,
    available_probes,
    chosen_probes,
    outcome_name,
    read_probes,
    usual_probes,
)
from budgetlens.model.roles import GENERATED, PREDICTING, READ_ROWS
from budgetlens.model.selecting import selected_trial
from budgetlens.model.token_attention import token_texts
from budgetlens.model.token_scores import placed
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.registry.names import name_of
from budgetlens.runs.batches import capture_fed
from budgetlens.runs.capturing import capture_records
from budgetlens.runs.examples_shown import notes_on, notes_on_input
from budgetlens.runs.known_models import short_name
from budgetlens.runs.memory import is_out_of_memory
from budgetlens.runs.ranking import ranking_records
from budgetlens.runs.records import KEYS, Fed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

#: Whose attention is read: of the rows that predict the answer's tokens, of those that hold them, or of those that predict
#: the tokens of the answer that the model generates.
Rows = Literal["predicting", "holding", "generated"]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model does with a document, a query and an answer: likelihood, attention, whatever a probe measures.

    ``model.read(…)`` makes it. Numbers are those that a run records of the same input, to the last bit. What was not
    asked for at first is measured when it is. Likelihoods are in nats, shares of attention between 0 and 1.

    Examples:
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> reading = model.read(document="Orla Venn built the mill.", query="who built the mill", answer="Orla Venn")
        >>> list(reading.budgets.columns)
        ['side', 'block', 'layer', 'head', 'role', 'share']
        >>> reading.attention(layer=3).values.shape[1] == len(reading.token_nll)
        True
    """

    loaded: LoadedModel = field(repr=False)
    fed: Fed = field(repr=False)
    rows: Rows
    # What is measured, by probe: filled when it is asked for.
    _measured: list[tuple[Any, pd.DataFrame]] = field(repr=False, default_factory=list)
    _answers: dict[str, AnswerObservation] = field(repr=False, default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the model."""
        return short_name(self.loaded.name)

    @property
    def trial(self) -> TokenizedTrial:
        """What was fed: ids and roles of every position, what is hidden, the edits."""
        return self.fed.trial

    @property
    def nll(self) -> float:
        """Negative log-likelihood of the answer, in nats per answer token."""
        outcome = _outcome()
        (quantity,) = available_probes()[outcome].declares.quantities
        return float(self.records(outcome)[quantity.name].iloc[0])

    @property
    def token_nll(self) -> pd.Series:
        """Negative log-likelihood of every answer token in nats, by ``row`` (from 0) and ``token``: two readings of one
        answer can be subtracted."""
        (values,) = self._answers[_outcome()].by_row.values()
        texts = token_texts(self.loaded.tokenizer, self._answer_ids)
        index = pd.MultiIndex.from_arrays([range(len(texts)), texts], names=["row", "token"])
        return pd.Series(values[0], index=index, name="nll")

    @property
    def logits(self) -> pd.DataFrame:
        """The ten most probable tokens of every answer row: row, answer_token, rank, token, token_id, logit, probability
        (0 to 1, of the whole vocabulary), is_answer."""
        by_row = self._answers[name_of(TopTokens)].by_row
        return top_table(by_row, self._answer_ids, self.loaded.tokenizer)

    @property
    def budgets(self) -> pd.DataFrame:
        """Share of attention by role of the keys: side, block, layer, head, role, share (0 to 1).

        Mean over the answer's rows in the decoder, over the document's rows in the encoder. In a merged block the roles
        of both sides sum to 1; in separate blocks those of each do.
        """
        return self.records("budgets")

    @property
    def contributions(self) -> pd.DataFrame:
        """What the rows take from each role, by every measure that there is: side, block, layer, head, role, measure, value.

        Each measure is a quantity of a probe that declares it (``budgetlens list probes`` tells what they are), in its own
        unit. Besides roles there are parts that no key gives, such as biases and MLPs; ``head`` is -1 of what is no
        single head's. The block ``joint`` has self- and cross-attention of a layer in one sum.
        """
        probes = [
            self._chosen(name) for name, made in available_probes().items() if made.declares.contributes
        ]
        known = [probe for probe, _ in self._measured]
        absent = [probe for probe in probes if probe not in known]
        if absent:
            self._measure(absent)
        frames = []
        for probe in probes:
            records = self._records_of(probe).rename(columns={probe.declares.axis: "role"})
            for quantity in probe.declares.quantities:
                own = records[["side", "block", "layer", "head", "role"]]
                frames.append(own.assign(measure=quantity.name, value=records[quantity.name]))
        return pd.concat(frames, ignore_index=True)

    def records(self, probe: str | Any) -> pd.DataFrame:
        """What a probe measures of these texts: columns side, block, layer, head, the probe's axis and its quantities.

        A probe of answers has one row, without the first four; ``head`` is -1 of what comes from the mean over heads.

        Args:
            probe: a probe's name, as ``entropies``, with its parameters, if it has any, behind a colon; or an instance, such
                as one of a class that the notebook defines. A name alone is the probe as it was asked for at first.

        Raises:
            RegistryError: an unknown name, or an instance of a class without the decorator.
            ParameterError: parameters that the probe does not take.
        """
        return self._records_of(self._chosen(probe)).copy()

    def attention(
        self, *, layer: int, side: Literal["decoder", "encoder"] = "decoder", block: str | None = None
    ) -> Attention:
        """The attention of one layer, head × row × key, with the texts and roles of rows and keys.

        Args:
            layer: which layer of the side, from 0.
            side: ``decoder`` for the answer's rows, ``encoder`` for every position of its input.
            block: ``self`` or ``cross`` where the decoder has a softmax for each; may be left out where there is one.

        Raises:
            ValueError: a layer, side or block that the model does not have.
        """
        trial, rows = self._read
        return attention_of(self.loaded, trial, layer=layer, side=side, block=block, rows=rows)

    def generate(
        self, *, tokens: int = ANSWER_TOKENS, temperature: float = 0.0, seed: int = SEED, plain: bool = False
    ) -> GeneratedAnswer:
        """What the model answers by itself from the same encoder states, under the same interventions.

        Args:
            tokens: the most that the answer gets, the token that ends it included.
            temperature: 0 takes the most probable token; another draws from softmax(logits / temperature).
            seed: of the draws.
            plain: leave out the logits processors of the model's generation configuration.

        Returns:
            The answer: its ``.text``, its ``.tokens`` (ids) and whether it ``.stopped`` by itself; it prints as its text.

        Raises:
            GenerationError: an edit that may read later rows, or a decoder without so many positions.
            ValueError: less than one token, or a negative temperature.
        """
        decoding = Decoding(tokens, temperature, seed, plain)
        (found,) = generate(self.loaded, [self.trial], decoding)
        return generated_answer(self.loaded, self.trial, found)

    def plot(
        self,
        what: str = "tokens",
        *,
        layer: int | None = None,
        head: int | None = None,
        row: int | None = None,
        measure: str | Any = None,
    ) -> Figure:
        """A figure: ``tokens``, where the answer looks in one layer, or a probe's records by layer, such as ``budgets``.

        Args:
            what: ``tokens`` or the name of a probe of attention.
            layer: of the token view; the last one by default.
            head: of the token view; the mean over heads by default.
            row: which answer token's row shades the text; the mean by default.
            measure: of the token view; what keys are shaded by: a probe of contributions, such as ``norm``, by its name or
                an instance; share of attention by default. Signed measures are drawn in a diverging scale.

        Raises:
            ValueError: a layer, head or row that is not there, or one for a probe's figure, which shows all; a measure that
                is of no contributions.
            RegistryError: no probe of that name.
        """
        from budgetlens.face.pictures import probe_picture, token_picture

        if what == "tokens":
            layer, head, row = (
                optional_number(name, given, 0)
                for name, given in (("layer", layer), ("head", head), ("row", row))
            )
            drawn = None if measure is None else self._chosen(measure)
            trial, rows = self._read
            return token_picture(self.loaded, trial, rows, layer=layer, head=head, row=row, measure=drawn)
        if (layer, head, row, measure) != (None, None, None, None):
            raise ValueError(
                f"layer, head, row and measure are of plot('tokens'); plot({what!r}) shows all of its own"
            )
        probe = self._chosen(what)
        return probe_picture(what, probe.declares, self._records_of(probe))

    def save_activations(
        self,
        path: str | Path,
        *,
        layers: int | Sequence[int] | None = None,
        what: Collection[str] = ACTIVATIONS,
    ) -> Activations:
        """Save activations of chosen layers, of encoder and decoder, in one safetensors file.

        Args:
            path: the file, which is written whole or not at all; its folder must be there.
            layers: which, from 0, in both stacks; None keeps all.
            what: of ``residual``, ``query``, ``key`` and ``value``.

        Returns:
            The activations in the file, as ``open_activations(path)`` gives them.

        Raises:
            ValueError: layers that the model lacks, or activations that nobody knows.
            WriteError: the file can't be written.
        """
        return save_trial(
            self.loaded, self.fed, path_given("path", path), layers=layer_numbers(layers), what=what
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What happens to the input, and while the model runs, that the texts don't show, as sentences' beginnings."""
        return tuple(notes_on(self.trial))

    @cached_property
    def _read(self) -> tuple[TokenizedTrial, str]:
        """The trial whose rows are read, and which: with the generated answer in it where its rows are wanted."""
        if self.rows == GENERATED:
            return answered_trial(self.loaded, self.trial), PREDICTING
        return self.trial, self.rows

    @property
    def _answer_ids(self) -> tuple[int, ...]:
        return self.trial.decoder_ids[-self.trial.answer_tokens :]

    def _chosen(self, given: str | Any) -> Any:
        """The probe that a name or an instance stands for: of a name alone, the one that was measured under it."""
        given = made_of(given)
        if not isinstance(given, str):
            own_name("probe", given)
            return given
        named = [known for known, _ in self._measured if name_of(known) == given]
        return named[0] if named else chosen_probes([given])[0]

    def _records_of(self, probe: Any) -> pd.DataFrame:
        for known, frame in self._measured:
            if known == probe:
                return frame
        self._measure((probe,))
        return self._measured[-1][1]

    def _measure(self, probes: Sequence[Any]) -> None:
        """Measure ``probes``, which have different names, in one pass."""
        try:
            captured = capture_fed(self.loaded, [self.fed], Probing(tuple(probes), encoder=True), self.rows)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(
                f"the texts do not fit into memory ({len(self.trial.encoder_ids)} encoder and "
                f"{len(self.trial.decoder_ids)} decoder tokens); free memory, shorten the document, or load the model "
                "with a smaller max_encoder_tokens"
            ) from error
        self._answers.update({answer.probe: answer for answer in captured.answers})
        tables = capture_records([self.fed], captured)
        # Of texts that have no other passages: there is nothing to rank, and that is what the records say.
        tables |= ranking_records(self.loaded, [self.fed], captured, Probing(tuple(probes)))
        for probe in probes:
            if name_of(probe) in tables:
                self._measured.append((probe, _frame(tables[name_of(probe)])))

    def __repr__(self) -> str:
        return (
            f"Reading of {self.name}, {self.trial.answer_tokens} answer tokens, {self.nll:.4f} nats per token"
            + (f", under {self.fed.cell}" if self.fed.cell else "")
            + "; .nll, .token_nll, .logits, .budgets, .contributions, .records('…'), .attention(layer=…), .generate(), "
            + ".plot()"
        )

    def _repr_html_(self) -> str:
        """The texts by role, the likelihood token by token, and the shares of attention, in a notebook."""
        from budgetlens.face.shown import reading_html

        return reading_html(self.name, self.fed, self.loaded.trial_tokenizer, self.token_nll, self.budgets)


def read_texts(
    model: LoadedModel,
    *,
    document: str,
    query: str,
    answer: str,
    prefix: str,
    interventions: Sequence[str | Intervention] | None,
    probes: Sequence[str | Any] | None,
    rows: Rows,
) -> Reading:
    """A reading of texts; what the arguments are and what is raised, :meth:`budgetlens.face.model.Model.read` tells."""
    if rows not in READ_ROWS:
        raise ValueError(f"rows are one of {', '.join(READ_ROWS)}, not {rows!r}")
    wanted = _wanted(usual_probes() if probes is None else probes)
    fed = fed_texts(
        model.trial_tokenizer,
        document=document,
        query=query,
        answer=answer,
        prefix=prefix,
        interventions=interventions,
    )
    (trial,) = placed(model, [fed.trial])
    fed = replace(fed, trial=selected_trial(model, trial))
    cut = (fed.trial.truncated, fed.trial.prompt_cut, fed.trial.answer_cut)
    if any(cut):
        limits = model.trial_tokenizer.limits
        warnings.warn(
            f"{'; '.join(notes_on_input(fed.trial))} (encoder {limits.encoder}, prompt {limits.prompt}, answer "
            f"{limits.answer} tokens); shorten the text, or load the model with another max_encoder_tokens",
            stacklevel=3,
        )
    reading = Reading(model, fed, rows)
    reading._measure((*wanted, TopTokens()))
    return reading


def _wanted(given: Sequence[str | Any]) -> tuple[Any, ...]:
    """The probes that are named or given, and the outcome, which every reading has."""
    given = [made_of(each) for each in several(given)]
    texts = [each for each in given if isinstance(each, str)]
    own = [each for each in given if not isinstance(each, str)]
    names = [own_name("probe", each) for each in own]
    named = chosen_probes(texts) if _outcome() in names else read_probes(texts)
    found = (*named, *own)
    doubled = [
        name_of(each) for each in found if [name_of(other) for other in found].count(name_of(each)) > 1
    ]
    if doubled:
        raise ValueError(f"the probe {doubled[0]!r} is given twice; a reading has each once")
    return found


def _outcome() -> str:
    return outcome_name({name: made.declares for name, made in available_probes().items()})


def _frame(table: pa.Table) -> pd.DataFrame:
    """Records as people ask for them: without example and cell, texts as texts, ``side`` for encoder or decoder."""
    frame = table.drop_columns(list(KEYS)).to_pandas()
    for column in frame.columns[[isinstance(own, pd.CategoricalDtype) for own in frame.dtypes]]:
        frame[column] = frame[column].astype(str)
    return frame.rename(columns={"stack": "side"})
