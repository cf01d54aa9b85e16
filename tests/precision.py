"""How far numbers in float32 may be from the truth: a multiple of what float32 itself is from float64.

Another processor, and another number of threads, add the same numbers in another order. An absolute bound on
float32 is therefore a bound on the processor. Here the independent eager computation in float64 is the truth, and
what the same computation in float32 deviates from it, on the machine that runs the test, is the unit of every bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import ArrayLike
from transformers import PreTrainedModel

from budgetlens.model.capture import Capture
from budgetlens.model.tokenization import TokenizedTrial
from tests.reference import eager

#: So many times the deviation of the independent float32 computation may numbers be from the truth, and from each
#: other where padding, order or packing are all that differs. Two correct orders of the same sums differ from the truth
#: by about as much, but each is a draw: over all families, quantities, kernels and numbers of threads that were tried,
#: ours was at most 4.8 units from the truth, mostly below 3. `tests/test_precision.py` shows what the multiple does not
#: swallow.
TIMES = 8

EPSILON = float(numpy.finfo(numpy.float32).eps)

#: No unit is below so many float32 epsilons of the largest number of its kind: a deviation may happen to be 0, and the
#: oracle sums a row's probabilities in float64 where ours may sum them, each rounded once already, in float32.
LEAST_EPSILONS = 2

#: What a quantity is, and the stack and layer that it is of: rounding grows from layer to layer.
Kind = tuple[str, str, int]

#: (probe, quantity, stack, block, layer, head, category): every number of a trial but its losses.
Key = tuple[str, str, str, str, int, int, str]


@dataclass(frozen=True)
class Float32:
    """What one model's eager computation in float32 deviates from the same in float64, for every kind of number.

    ``units`` holds the largest deviation over some trials, and at least :data:`LEAST_EPSILONS` of its kind.
    """

    units: Mapping[Kind, float]

    def of(self, quantity: str, stack: str | None = None, layer: int | None = None) -> float:
        """The unit of a quantity: ``losses``, ``logits``, ``states``, ``weight``, ``share``, ``mass``, ``entropy`` or
        ``published entropy``, the largest of all stacks and layers unless they are named."""
        return max(
            unit
            for kind, unit in self.units.items()
            if kind[0] == quantity and stack in (None, kind[1]) and layer in (None, kind[2])
        )

    @property
    def losses(self) -> float:
        """The unit of losses."""
        return self.of("losses")


def least_unit(values: ArrayLike) -> float:
    """The least unit of numbers of this size: that of what is computed in float64 but for the last roundings."""
    return (
        LEAST_EPSILONS * EPSILON * float(numpy.nanmax(numpy.abs(numpy.asarray(values, dtype=numpy.float64))))
    )


def unit(narrow: ArrayLike, wide: ArrayLike) -> float:
    """How far float32 is from float64, and at least :data:`LEAST_EPSILONS`; NaN in one is NaN in the other."""
    narrow, wide = (numpy.asarray(values, dtype=numpy.float64) for values in (narrow, wide))
    numpy.testing.assert_array_equal(numpy.isnan(narrow), numpy.isnan(wide))
    return max(float(numpy.nanmax(numpy.abs(narrow - wide))), least_unit(wide))


def float32_of(model: PreTrainedModel, trials: Iterable[TokenizedTrial]) -> Float32:
    """The units of a model, from these trials, with the rows that predict the answer and those that hold it."""
    narrow, wide = eager.eager_twin(model), eager.double_twin(model)
    units: dict[Kind, float] = {}
    for trial in trials:
        pair = [dict(_by_kind(own, trial)) for own in (narrow, wide)]
        for kind, values in pair[1].items():
            units[kind] = max(units.get(kind, 0.0), unit(pair[0][kind], values))
    return Float32(units)


def _by_kind(model: PreTrainedModel, trial: TokenizedTrial) -> Iterator[tuple[Kind, numpy.ndarray]]:
    weights = weights_of(model, trial)
    yield ("logits", "decoder", -1), weights.logits.double().numpy()
    yield ("states", "encoder", -1), weights.states.double().numpy()
    for layer, own in enumerate(weights.encoder):
        yield ("weight", "encoder", layer), own
    for layer, pair in enumerate(zip(weights.own, weights.cross, strict=True)):
        yield ("weight", "decoder", layer), numpy.concatenate(pair, axis=-1)
    values: dict[Kind, list[float]] = {}
    for rows in ("predicting", "holding"):
        measurement = _numbers(weights, trial, rows)
        values["losses", "decoder", -1] = measurement.nll.tolist()
        for key, value in expected_numbers(measurement, weights.merged).items():
            values.setdefault(kind_of(key), []).append(value)
    for kind, found in values.items():
        yield kind, numpy.array(found)


def kind_of(key: Key) -> Kind:
    """The kind of a number that a capture reads.

    The oracle has published entropies of the decoder alone: a capture's of the encoder count as entropies.
    """
    probe, quantity, stack, _, layer, _, _ = key
    published = probe == "published_entropies" and quantity == "entropy" and stack == "decoder"
    return "published entropy" if published else quantity, stack, layer


# Comparisons.


def units_apart(one: ArrayLike, other: ArrayLike, of: float) -> float:
    """The largest distance of two arrays of one shape in units; infinite where one has NaN and the other not."""
    one, other = (numpy.asarray(values, dtype=numpy.float64) for values in (one, other))
    assert one.shape == other.shape, f"{one.shape} numbers are compared with {other.shape}"
    if (numpy.isnan(one) != numpy.isnan(other)).any():
        return float("inf")
    return float(numpy.abs(one - other)[~numpy.isnan(one)].max(initial=0.0)) / of


def within(one: ArrayLike, other: ArrayLike, *, of: float, what: object = "") -> None:
    """Assert that no number is further from its counterpart than :data:`TIMES` units."""
    apart = units_apart(one, other, of)
    assert apart <= TIMES, f"{what} {apart:.3g} × {of:.2g} apart, above {TIMES} ×: {one} and {other}"


def beyond(one: ArrayLike, other: ArrayLike, *, of: float, what: object = "") -> None:
    """Assert that some number is further from its counterpart than rounding can be: ten times :data:`TIMES` units."""
    apart = units_apart(one, other, of)
    assert apart > 10 * TIMES, f"{what} {apart:.3g} × {of:.2g} apart, not above {10 * TIMES} ×"


def numbers_within(found: Mapping[Key, float], expected: Mapping[Key, float], of: Float32) -> None:
    """Assert that every expected number is there and within :data:`TIMES` units of its kind."""
    missing = sorted(map(str, expected.keys() - found.keys()))
    assert not missing, missing[:5]
    by_kind: dict[Kind, list[Key]] = {}
    for key in expected:
        by_kind.setdefault(kind_of(key), []).append(key)
    for kind, keys in by_kind.items():
        ours, theirs = [found[key] for key in keys], [expected[key] for key in keys]
        within(ours, theirs, of=of.units[kind], what=kind)


def numbers_equal(found: Mapping[Key, float], expected: Mapping[Key, float]) -> None:
    """Assert that the numbers are the same to the last bit, and NaN in the same places."""
    assert found.keys() >= expected.keys()
    ours, theirs = [found[key] for key in expected], list(expected.values())
    numpy.testing.assert_array_equal(ours, theirs)


# The numbers of a trial: a capture's, and the oracle's under the same names.


def numbers(captured: Capture, trial: int) -> dict[Key, float]:
    """All observations of one trial; ``head`` is -1 where the probe averages heads."""
    found: dict[Key, float] = {}
    for observation in captured.observations:
        site = observation.site
        for quantity, values in observation.values.items():
            for head, by_category in enumerate(values[trial]):
                for category, value in zip(observation.categories, by_category, strict=True):
                    number = -1 if observation.averages_heads else head
                    key = (observation.probe, quantity, site.stack, site.block, site.layer, number, category)
                    assert key not in found
                    found[key] = float(value)
    return found


def weights_of(
    model: PreTrainedModel, trial: TokenizedTrial, *, encoder_visible: Sequence[bool] | None = None
) -> eager.Weights:
    """The oracle's weights of one trial, run by itself."""
    first = trial.decoder_shift
    return eager.attention_weights(
        model,
        encoder_ids=trial.encoder_ids,
        decoder_ids=trial.decoder_ids,
        visible=trial.visible,
        decoder_position_ids=list(range(first, first + len(trial.decoder_ids))),
        encoder_visible=encoder_visible,
    )


def measured(
    model: PreTrainedModel, trial: TokenizedTrial, rows: str = "predicting", **options: Any
) -> eager.Measurement:
    """The oracle's numbers of one trial; for options see :func:`weights_of`."""
    return _numbers(weights_of(model, trial, **options), trial, rows)


def _numbers(weights: eager.Weights, trial: TokenizedTrial, rows: str) -> eager.Measurement:
    return eager.numbers_of(
        weights,
        encoder_roles=trial.encoder_roles,
        decoder_ids=trial.decoder_ids,
        decoder_roles=trial.decoder_roles,
        answer_length=trial.decoder_roles.count("answer"),
        rows=rows,
    )


def expected_numbers(measurement: eager.Measurement, merged: bool) -> dict[Key, float]:
    """The oracle's numbers under the same keys; the mass of published entropies is not in them."""
    expected: dict[Key, float] = {}
    for (stack, block, layer, head, role), share in measurement.budgets.items():
        expected["budgets", "share", stack, block, layer, head, role] = share
    for (stack, block, layer, head, part), (mass, entropy) in measurement.entropies.items():
        expected["entropies", "mass", stack, block, layer, head, part] = mass
        expected["entropies", "entropy", stack, block, layer, head, part] = entropy
    for (layer, part), entropy in measurement.published_entropies.items():
        block = "merged" if merged else part
        key = ("published_entropies", "entropy", "decoder", block, layer, -1, f"published_{part}")
        expected[key] = entropy
    return expected
