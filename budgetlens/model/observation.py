"""What a probe is, and the arrays it leaves.

A probe of attention is a frozen dataclass that declares what its records are and has one pure method; it
never sees records, files or batches, and no table, figure or page knows it by name. Registering one:
``@probe("name")`` on the class, in a module of
:mod:`probes` or of a distribution with an entry point in the group ``budgetlens.probes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

from budgetlens.model.declaration import Declaration
from budgetlens.model.roles import TokenKeys
from budgetlens.registry.discovery import discover
from budgetlens.registry.names import RegistryError, lookup
from budgetlens.registry.parameters import from_text
from budgetlens.registry.registering import registered

if TYPE_CHECKING:
    # Annotations only: what is declared loads without torch.
    import numpy as np
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from budgetlens.model.attention import RowAttention, Site
    from budgetlens.model.decoding import Decoding
    from budgetlens.model.mixing_reading import Mixing
    from budgetlens.model.stream import Stream
    from budgetlens.model.sublayer import Sublayer

ProbeClass = TypeVar("ProbeClass")

#: What can be kept of a layer: the residual stream behind it, and what its attention is handed.
ACTIVATIONS = ("residual", "query", "key", "value")

#: Value of ``head`` in records of a quantity that is computed from the average over heads.
ALL_HEADS = -1


def probe(name: str) -> Callable[[ProbeClass], ProbeClass]:
    """Register a probe under ``name``.

    Examples:
        >>> from dataclasses import dataclass
        >>> from budgetlens import Declaration, Quantity, probe
        >>> @probe("strongest_key")
        ... @dataclass(frozen=True)
        ... class StrongestKey:
        ...     declares = Declaration(
        ...         title="Strongest key", quantities=(Quantity("share", "share", "fraction of attention"),), axis="key"
        ...     )
        ...
        ...     def categories(self, site):
        ...         return ("strongest",) if site.stack == "decoder" else ()
        ...
        ...     def observe(self, attention):
        ...         return {"share": attention.probabilities.amax(dim=-1, keepdim=True)}
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> reading = model.read(document="Oss built the mill.", answer="Oss", probes=[StrongestKey()])
        >>> bool(reading.records("strongest_key")["share"].between(0, 1).all())
        True
    """
    return registered("probe", name)


class Probe:
    """Base of a probe of one's own: a frozen dataclass that declares what its records are, and measures.

    A probe of attention has ``categories(site)`` and ``observe(attention)`` (:class:`AttentionProbe`), a probe of answers
    ``observe_answer(answer)`` (:class:`AnswerProbe`), one of generated answers ``decoding`` and
    ``observe_generated(answer)`` (:class:`GenerationProbe`); ``@probe("name")`` above it gives it its name.

    Examples:
        >>> from dataclasses import dataclass
        >>> from budgetlens import Declaration, Probe, Quantity, probe
        >>> @probe("surest")
        ... @dataclass(frozen=True)
        ... class Surest(Probe):
        ...     declares = Declaration(title="Surest", quantities=(Quantity("surest", "p of the likeliest", "fraction"),))
        ...
        ...     def observe_answer(self, answer):
        ...         return {"surest": answer.logits.float().softmax(dim=-1).amax(dim=-1)}
        >>> Surest().declares.title
        'Surest'
    """

    declares: ClassVar[Declaration]


class AttentionProbe(Protocol):
    """Reads the attention of chosen rows and yields quantities per row."""

    @property
    def declares(self) -> Declaration:
        """What its records are, and what may be said of them."""
        ...

    def categories(self, site: Site) -> tuple[str, ...]:
        """The categories of the last axis at this site; empty where the probe reads nothing."""
        ...

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """The declared quantities by name, each batch × head × row × category.

        The head axis has length one where the quantity is computed from the average over heads. A
        value that is undefined for a row is NaN, and then undefined for the trial.
        """
        ...


class SublayerProbe(Protocol):
    """Reads sublayers of attention in chosen rows and yields quantities of what they write."""

    @property
    def declares(self) -> Declaration:
        """What its records are, and what may be said of them."""
        ...

    def categories(self, site: Site) -> tuple[str, ...]:
        """The categories of the last axis at this site; empty where the probe reads nothing.

        The block ``joint`` is that of both sublayers of a decoder layer together, where each has a softmax.
        """
        ...

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, Tensor]:
        """The declared quantities by name, each batch × head × row × category, of one sublayer or of both of a layer.

        In the latter, what each writes is taken behind all norms that it passes up to the stream behind the last one.
        """
        ...


class StreamProbe(Protocol):
    """Reads the residual stream of the rows that predict the answer, up to the logits; of the decoder alone."""

    @property
    def declares(self) -> Declaration:
        """What its records are, and what may be said of them."""
        ...

    def categories(self, site: Site) -> tuple[str, ...]:
        """The categories of the last axis at this site; empty where the probe yields nothing."""
        ...

    def keep(self, sublayer: Sublayer) -> Tensor:
        """What is kept of a sublayer of attention until the stream is whole: batch × row × …."""
        ...

    def observe_stream(self, stream: Stream) -> Iterable[AtSite]:
        """The declared quantities at every site that it has any of; a site may come twice, with other categories."""
        ...


class MixingProbe(Protocol):
    """Reads what rows are made of behind every layer's attention, followed down to the input tokens."""

    @property
    def declares(self) -> Declaration:
        """What its records are, and what may be said of them."""
        ...

    def categories(self, site: Site) -> tuple[str, ...]:
        """The categories of the last axis at this site; that of a layer with two blocks is ``joint``."""
        ...

    def observe_mixing(self, mixing: Mixing) -> Mapping[str, Tensor]:
        """The declared quantities by name, each batch × 1 × row × category."""
        ...


class LayerProbe(Protocol):
    """Reads the answer as if a stack ended behind one of its layers: behind every layer of ``reads_stack``.

    Of the decoder's layers the answer is read through the final norm and head; of the encoder's, the decoder runs on their
    states, once more for each.
    """

    reads_stack: ClassVar[str]

    @property
    def declares(self) -> Declaration:
        """What its records are: one row per example, cell and layer, with one category."""
        ...

    def categories(self, site: Site) -> tuple[str, ...]:
        """The only category."""
        ...

    def observe_layer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        """The declared quantities by name, each batch × row. A trial's value is the mean over its answer's rows."""
        ...


class AnswerProbe(Protocol):
    """Reads the logits that predict the answer and yields quantities per answer token."""

    @property
    def declares(self) -> Declaration:
        """What its records are: one row per example and cell, without an axis."""
        ...

    def observe_answer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        """The declared quantities by name, each batch × row. A trial's value is the mean over its answer's rows."""
        ...


class GenerationProbe(Protocol):
    """Judges the answer that the model generates, token by token from its own, and yields quantities per answer."""

    @property
    def declares(self) -> Declaration:
        """What its records are: one row per example and cell, without an axis."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How answers are generated."""
        ...

    def observe_generated(self, answer: GeneratedAnswer) -> Mapping[str, float]:
        """The declared quantities by name, of one example in one cell."""
        ...


class CandidateProbe(Protocol):
    """Compares the answer with the example's other candidates and yields quantities per answer."""

    @property
    def declares(self) -> Declaration:
        """What its records are: one row per example and cell, without an axis."""
        ...

    def observe_candidates(self, answer: float, others: Sequence[float]) -> Mapping[str, float]:
        """The declared quantities by name, from the mean NLL in nats per token of the answer and of the other candidates.

        ``others`` is empty where the example has none; a quantity is NaN where it is undefined then.
        """
        ...


class PassageProbe(Protocol):
    """Compares the document with the other passages of its example and yields quantities per example."""

    @property
    def declares(self) -> Declaration:
        """What its records are: one row per example and cell, without an axis."""
        ...

    def observe_passages(self, document: float, others: Sequence[float]) -> Mapping[str, float]:
        """The declared quantities by name, from the answer's mean NLL in nats per token given the document, and given each
        other passage in its place.

        ``others`` is empty where the example has none; a quantity is NaN where it is undefined then.
        """
        ...


@dataclass(frozen=True)
class GeneratedAnswer:
    """What the model answers in one cell, and what would be right.

    ``tokens`` are ids without the end-of-sequence token, ``stopped`` tells whether one came; ``text`` is what they spell,
    without special tokens and white space at both ends. ``right_answers`` are all that count as right, the example's
    answer first. It prints as its text.

    Examples:
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> reading = model.read(document="Orla Venn built the mill.", query="who built the mill", answer="Orla Venn")
        >>> answer = reading.generate(tokens=4)
        >>> str(answer) == answer.text, len(answer.tokens) <= 4
        (True, True)
    """

    tokens: tuple[int, ...]
    text: str
    stopped: bool
    right_answers: tuple[str, ...]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class GeneratedObservation:
    """What a probe of generation saw: the answers of a batch's trials in their order, and its quantities of each."""

    probe: str
    answers: tuple[GeneratedAnswer, ...]
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class CandidateObservation:
    """What a probe of candidates saw: its quantities of a batch's trials in their order."""

    probe: str
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class AtSite:
    """What a probe of the stream has of one site: ``values`` by quantity, each batch × head × row × category.

    What no head writes has ``by_head`` False and a head axis of length one.
    """

    site: Site
    categories: tuple[str, ...]
    by_head: bool
    values: Mapping[str, Tensor]


#: A probe of any kind.
AnyProbe: TypeAlias = (
    AttentionProbe
    | SublayerProbe
    | StreamProbe
    | MixingProbe
    | LayerProbe
    | AnswerProbe
    | GenerationProbe
    | CandidateProbe
    | PassageProbe
)


@dataclass(frozen=True)
class AnswerLogits:
    """The rows that predict answer tokens: ``logits`` batch × row × vocabulary, ``targets`` batch × row.

    ``real`` marks the rows that belong to a trial; what is computed for the others is never looked at.
    """

    logits: Float[Tensor, "batch row vocabulary"]
    targets: Int[Tensor, "batch row"]
    real: Bool[Tensor, "batch row"]

    @cached_property
    def losses(self) -> Float[Tensor, "batch row"]:
        """−log p(target) in nats, in float32 whatever the model's precision; computed once for all who ask."""
        # Here, since what is declared loads without torch.
        from budgetlens.model.likelihood import token_losses

        return token_losses(self.logits, self.targets)


@dataclass(frozen=True)
class AnswerObservation:
    """One answer probe's quantities: token by token, and summed over each trial's answer rows.

    ``sums`` by name and ``tokens``, the answer's rows, have one entry per trial; ``by_row``, trial × row, has what was
    summed, NaN behind a shorter answer's end. ``by_token`` is the declaration's.
    """

    probe: str
    by_token: bool
    tokens: np.ndarray
    sums: Mapping[str, np.ndarray]
    by_row: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Observation:
    """One probe's quantities at one site, averaged over each trial's chosen rows.

    ``values`` maps a quantity's name to an array trial × head × category.
    """

    probe: str
    site: Site
    axis: str
    categories: tuple[str, ...]
    averages_heads: bool
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Probing:
    """Which probes read which sites: ``layers`` None means all; ``encoder`` asks for the document rows.

    ``tokens`` asks for what probes sum by role, of a batch of one trial, token by token: each is a role by itself.

    ``activations`` are kept of these layers as they are, in both stacks: some of :data:`ACTIVATIONS`.

    ``cells`` are those of a run in which alone probes with an axis read; None means all.
    """

    probes: tuple[AnyProbe, ...] = ()
    layers: frozenset[int] | None = None
    encoder: bool = False
    activations: frozenset[str] = frozenset()
    tokens: TokenKeys | None = None
    cells: frozenset[str] | None = None

    def in_cell(self, cell: str) -> bool:
        """Whether probes with an axis read in a cell."""
        return self.cells is None or cell in self.cells

    @property
    def of_answers_alone(self) -> Probing:
        """What is read in the other cells: answers, which have no axis."""
        return replace(self, probes=tuple(probe for probe in self.probes if not probe.declares.axis))

    @property
    def of_attention(self) -> tuple[AttentionProbe, ...]:
        """The probes that read attention calls."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe"))  # type: ignore[misc]

    @property
    def of_sublayers(self) -> tuple[SublayerProbe, ...]:
        """The probes that read what sublayers of attention write."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_sublayers"))  # type: ignore[misc]

    @property
    def of_stream(self) -> tuple[StreamProbe, ...]:
        """The probes that read the residual stream up to the logits."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_stream"))  # type: ignore[misc]

    @property
    def of_mixing(self) -> tuple[MixingProbe, ...]:
        """The probes that read what rows are made of."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_mixing"))  # type: ignore[misc]

    @property
    def of_layers(self) -> tuple[LayerProbe, ...]:
        """The probes that read the answer behind every layer of a stack."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_layer"))  # type: ignore[misc]

    @property
    def of_answers(self) -> tuple[AnswerProbe, ...]:
        """The probes that read the answer's logits."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_answer"))  # type: ignore[misc]

    @property
    def of_generation(self) -> tuple[GenerationProbe, ...]:
        """The probes that judge generated answers."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_generated"))  # type: ignore[misc]

    @property
    def of_candidates(self) -> tuple[CandidateProbe, ...]:
        """The probes that compare the answer with other candidates."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_candidates"))  # type: ignore[misc]

    @property
    def of_passages(self) -> tuple[PassageProbe, ...]:
        """The probes that compare the document with other passages."""
        return tuple(probe for probe in self.probes if hasattr(probe, "observe_passages"))  # type: ignore[misc]

    def reads(self, site: Site) -> bool:
        """Whether any probe reads ``site``."""
        return bool(self.of_attention) and self.has(site.layer)

    def reads_sublayer(self, site: Site) -> bool:
        """Whether any probe reads what the sublayer at ``site`` writes."""
        return bool(self.of_sublayers) and self.has(site.layer)

    def reads_layer(self, stack: str, layer: int) -> bool:
        """Whether any probe reads the answer behind a layer of a stack."""
        return any(probe.reads_stack == stack for probe in self.of_layers) and self.has(layer)

    def keeps(self, layer: int, what: str) -> bool:
        """Whether an activation of a layer is kept."""
        return what in self.activations and self.has(layer)

    def has(self, layer: int) -> bool:
        """Whether a layer is among those that are read."""
        return self.layers is None or layer in self.layers


def available_probes() -> Mapping[str, Any]:
    """Every registered probe by name."""
    return discover("probe", "budgetlens.probes")


def outcome_name(declared: Mapping[str, Declaration]) -> str:
    """The probe of answers that a run's contrasts are about.

    Raises RegistryError where none of the ``declared`` says that it is, or several do.
    """
    found = [name for name, own in declared.items() if own.outcome]
    if len(found) != 1:
        raise RegistryError(
            f"{len(found)} probes declare outcome=True ({', '.join(found) or 'none'}); exactly one is the outcome of "
            "every run: correct the others, or install budgetlens again"
        )
    return found[0]


def probes_of_task(task: str) -> tuple[str, ...]:
    """The probes that every run of a task reads, whatever else it does."""
    return tuple(name for name, made in available_probes().items() if made.declares.task == task)


def usual_probes() -> tuple[str, ...]:
    """The probes that a design reads where it names none."""
    return tuple(name for name, made in available_probes().items() if made.declares.usual)


def scoring_probes() -> tuple[str, ...]:
    """The probes by which a document's positions can be ranked: those whose records are by the role of the keys."""
    return tuple(
        name
        for name, made in available_probes().items()
        if made.declares.axis == "role" and made.declares.shown
    )


def read_probes(texts: Sequence[str]) -> tuple[AnyProbe, ...]:
    """What a run reads: the outcome, and the probes that are named. Raises as :func:`chosen_probes` does."""
    outcome = outcome_name({name: made.declares for name, made in available_probes().items()})
    named = any(text.partition(":")[0] == outcome for text in texts)
    return chosen_probes(texts if named else (outcome, *texts))


def chosen_probes(texts: Sequence[str]) -> tuple[AnyProbe, ...]:
    """Probes by name, with parameters behind a colon as in ``name:k=3``.

    Raises RegistryError for an unknown name, ParameterError for an unknown or ill-typed parameter, and ValueError
    for a name given twice, whose records would be one.
    """
    known = available_probes()
    parts = [text.partition(":") for text in texts]
    names = [name for name, _, _ in parts]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"the probe {doubled[0]!r} is named twice; a run reads each probe once")
    return tuple(from_text(lookup("probe", name, known), parameters) for name, _, parameters in parts)
