"""What every intervention must keep to, as functions: for this project's own, and for anyone's from elsewhere.

    bench = Bench(load_model("…"), examples)
    check_sample(MyIntervention, "level that has an effect", bench)
    check_identity(MyIntervention, "level that changes nothing", bench)

Each raises :class:`ConformanceError` that names the intervention, the level and what it broke.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy
import torch

from budgetlens.design.intervention import Context, Intervention, LevelError
from budgetlens.model.attention import AttentionCall, Site
from budgetlens.model.capture import Probing
from budgetlens.model.edits import EditError
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example, Segment, StateError, Trial
from budgetlens.runs.capturing import Unit, capture_part
from budgetlens.runs.records import Fed
from probes.budgets import Budgets
from probes.likelihood import Likelihood
from tests.precision import TIMES, Float32, float32_of

#: How an intervention says that a model can't do what a level asks for.
REFUSALS = (EditError, StateError, LevelError)

#: A layer that no model has.
_NOWHERE = 9_999

_WORDS = "raised on purpose in the middle of a trace"

_READING = Probing((Likelihood(), Budgets()))


class ConformanceError(AssertionError):
    """An intervention that does not keep to what every intervention must keep to."""


class Exploded(Exception):
    """Raised on purpose, in the middle of a trace."""


#: NLL, first, and attention shares of every example, by the example's identifier.
Measured = Mapping[str, numpy.ndarray]


@dataclass(frozen=True)
class Bench:
    """A model and a few examples to try interventions on.

    An intervention is tried on bare trials (document and answer alone) and on prompted ones (the query as
    prefix and as prompt), since some have something to change in only one of them.
    """

    model: LoadedModel
    examples: tuple[Example, ...]
    seed: int = 42
    #: One run of every example by itself is a batch as well; a batch of all is what shows leaks.
    batch_tokens: int = field(default=100_000, repr=False)

    @cached_property
    def bare(self) -> tuple[Trial, ...]:
        """Document and answer."""
        return tuple(map(Trial.bare, self.examples))

    @cached_property
    def prompted(self) -> tuple[Trial, ...]:
        """Query, line break and document; query and answer."""
        tokenizer = self.model.trial_tokenizer
        return tuple(
            trial.with_prefix(
                (Segment("prefix", text=trial.example.query), Segment("separator", text="\n"))
            ).with_prompt((Segment("prompt", token_ids=tokenizer.query_ids(trial.example.query)),))
            for trial in self.bare
        )

    @cached_property
    def bases(self) -> Mapping[str, tuple[tuple[Trial, ...], Measured]]:
        """Both kinds of trials with their numbers, measured once."""
        return {
            name: (trials, self.measure(trials))
            for name, trials in (("bare", self.bare), ("prompted", self.prompted))
        }

    @cached_property
    def float32(self) -> Float32:
        """What float32 itself deviates from float64 in this model: what is no further apart is the same."""
        return float32_of(self.model.model, self.tokenized((*self.bare, *self.prompted)))

    def units_apart(self, one: Measured, other: Measured) -> float:
        """The largest distance of any number, in float32's deviations; infinite where the numbers are not the same ones."""
        if one.keys() != other.keys() or any(one[key].shape != other[key].shape for key in one):
            return float("inf")
        units = self.float32.losses, self.float32.of("share")
        apart = [numpy.nan_to_num(numpy.abs(one[key] - other[key])) for key in one]
        return max(max(own[0] / units[0], own[1:].max(initial=0.0) / units[1]) for own in apart)

    def context(self, index: int) -> Context:
        """What an intervention may know of example ``index``."""
        tokenizer = self.model.trial_tokenizer
        return Context(index, self.examples, tokenizer, tokenizer.tokenizer.vocab_size, self.seed)

    def tokenized(self, trials: Sequence[Trial]) -> list[TokenizedTrial]:
        """Positions of trials."""
        return [self.model.trial_tokenizer(trial) for trial in trials]

    def measure(self, trials: Sequence[Trial]) -> Measured:
        """Run trials as `budgetlens run` does; the answer's NLL and every share, by example."""
        units = [Unit((Fed("cell", tokenized),)) for tokenized in self.tokenized(trials)]
        records = capture_part(self.model, units, _READING, rows="predicting", batch_tokens=self.batch_tokens)
        found: dict[str, numpy.ndarray] = {}
        for kind, column in (("likelihood", "nll"), ("budgets", "share")):
            names = numpy.asarray(records[kind]["example"].to_pylist())
            values = records[kind][column].to_numpy()
            for trial in trials:
                name = trial.example.identifier
                found[name] = numpy.append(found.get(name, []), values[names == name])
        return found


def check_sample(cls: type[Intervention], level: str, bench: Bench) -> bool:
    """Everything that holds for a level that has an effect; False where the model refuses it by a declared error."""
    intervention = cls.parse(level)
    check_value(intervention)
    check_untouched(intervention, bench)
    check_repeatable(intervention, bench)
    if not check_effect(intervention, bench):
        return False
    check_nothing_left(intervention, bench)
    check_unmatched(intervention, bench)
    return True


def check_identity(cls: type[Intervention], level: str, bench: Bench) -> None:
    """A level that changes nothing leaves bare trials with the same numbers."""
    intervention = cls.parse(level)
    check_value(intervention)
    check_untouched(intervention, bench)
    trials, before = bench.bases["bare"]
    changed = applied(intervention, trials, bench)
    # The same positions under the same edits are the same computation.
    if bench.tokenized(changed) != bench.tokenized(trials):
        apart = bench.units_apart(bench.measure(changed), before)
        if apart > TIMES:
            raise _broken(
                intervention,
                f"is to change nothing, and changes a number by {apart:.3g} times what float32 deviates",
            )


def check_value(intervention: Intervention) -> None:
    """It can be hashed, and what was pickled comes back equal."""
    try:
        same = pickle.loads(pickle.dumps(intervention))
        equal = same == intervention and hash(same) == hash(intervention)
    except (TypeError, pickle.PicklingError, AttributeError) as error:
        raise _broken(intervention, f"can't be hashed and pickled: {error}") from error
    if not equal:
        raise _broken(intervention, "is another one after pickling")


def check_untouched(intervention: Intervention, bench: Bench) -> None:
    """Trials, examples and the global random states are as they were."""
    for trials in (bench.bare, bench.prompted):
        given = (copy.deepcopy(trials), copy.deepcopy(bench.examples))
        before = copy.deepcopy(given)
        states = _random_states()
        with contextlib.suppress(*REFUSALS):
            applied(intervention, given[0], replace(bench, examples=given[1]))
        if given != before:
            raise _broken(intervention, "changes the trial or the examples that it was given")
        if _random_states() != states:
            raise _broken(intervention, "draws from a global random generator; use context.generator")


def check_repeatable(intervention: Intervention, bench: Bench) -> None:
    """The same seed gives the same trials and the same numbers, in whatever order the examples come."""
    for trials in (bench.bare, bench.prompted):
        with contextlib.suppress(*REFUSALS):
            first = applied(intervention, trials, bench)
            with _other_global_states():
                again = applied(intervention, trials, bench)
                backwards = applied(intervention, trials, bench, order=reversed(range(len(trials))))
            if first != again:
                raise _broken(intervention, "makes another trial the second time, with the same seed")
            if first != backwards:
                raise _broken(intervention, "depends on the order in which the examples come")


def check_effect(intervention: Intervention, bench: Bench) -> bool:
    """Something changes in bare or prompted trials; numbers change where the positions do not.

    False where a model refuses both by one of :data:`REFUSALS`.
    """
    refused = 0
    for trials, before in bench.bases.values():
        try:
            changed = applied(intervention, trials, bench)
            if changed == trials:
                continue
            if _positions(bench.tokenized(changed)) != _positions(bench.tokenized(trials)):
                return True
            after = bench.measure(changed)
            if bench.units_apart(after, before) <= TIMES:
                continue
            if bench.units_apart(bench.measure(changed[::-1]), after) > TIMES:
                raise _broken(intervention, "gives other numbers when the examples come in another order")
            return True
        except REFUSALS:
            refused += 1
    if refused == len(bench.bases):
        return False
    raise _broken(intervention, "has no effect, neither on bare trials nor on prompted ones")


def check_nothing_left(intervention: Intervention, bench: Bench) -> None:
    """After an error in the middle of its trace the model computes what it computed before.

    Interventions that leave attention calls and states alone do nothing in a trace.
    """
    for trials, before in bench.bases.values():
        with contextlib.suppress(*REFUSALS):
            changed = applied(intervention, trials, bench)
            if not any(trial.edits or trial.states for trial in changed):
                continue
            try:
                bench.measure([replace(trial, edits=(*trial.edits, _Explosion())) for trial in changed])
            except Exception as error:
                # nnsight may raise it as another type, with the same words.
                if _WORDS not in str(error):
                    raise
            else:
                raise _broken(intervention, "swallows an error in the middle of a trace")
            if bench.units_apart(bench.measure(trials), before) > 0:
                raise _broken(intervention, "leaves something behind: later numbers are others than before")
            return


def check_unmatched(intervention: Intervention, bench: Bench) -> None:
    """Its edits, moved to a layer that the model lacks, raise EditError and do not pass in silence."""
    for trials, _ in bench.bases.values():
        with contextlib.suppress(*REFUSALS):
            changed = applied(intervention, trials[:1], bench)
            for lost in _moved_away(changed[0]):
                try:
                    bench.measure([lost])
                except EditError:
                    continue
                raise _broken(
                    intervention, f"has an edit that matches no layer, which raised nothing: {lost.edits}"
                )


def applied(
    intervention: Intervention,
    trials: Sequence[Trial],
    bench: Bench,
    *,
    order: Iterator[int] | None = None,
) -> tuple[Trial, ...]:
    """The trials that an intervention makes of ``trials``, which stand in the order of the bench's examples."""
    made = {
        index: intervention.apply(trials[index], bench.context(index))
        for index in order or range(len(trials))
    }
    for trial in made.values():
        if not isinstance(trial, Trial):
            raise _broken(intervention, f"must return a Trial; got {type(trial).__name__}")
    return tuple(made[index] for index in range(len(trials)))


@dataclass(frozen=True)
class _Explosion:
    """An edit of the last attention call of the decoder that raises."""

    def matches(self, site: Site) -> bool:
        return site.stack == "decoder"

    def apply(self, call: AttentionCall) -> AttentionCall:
        if call.site.layer > 0:
            raise Exploded(_WORDS)
        return call


def _moved_away(trial: Trial) -> Iterator[Trial]:
    """The trial with one of its edits moved to a layer that no model has, for every edit that names layers."""
    bare = replace(trial, edits=(), states=())
    for edit in trial.edits:
        if "layers" in {own.name for own in fields(edit)}:
            yield replace(bare, edits=(replace(edit, layers=frozenset({_NOWHERE})),))
    for state in trial.states:
        if state.layer is not None:
            yield replace(bare, states=(replace(state, layer=_NOWHERE),))


def _positions(trials: Sequence[TokenizedTrial]) -> list[TokenizedTrial]:
    """What is fed, without the trials that it was made from."""
    return [replace(tokenized, trial=None) for tokenized in trials]  # type: ignore[arg-type]


def _random_states() -> tuple[object, ...]:
    numbers = numpy.random.get_state()
    return (
        random.getstate(),
        tuple(map(str, (numbers[0], *numbers[2:]))),
        numbers[1].tobytes(),
        _torch_state(),
    )


def _torch_state() -> bytes:
    return torch.random.get_rng_state().numpy().tobytes()


@contextlib.contextmanager
def _other_global_states() -> Iterator[None]:
    """Other states of the global generators than before, and the old ones afterwards."""
    own, numbers, state = random.getstate(), numpy.random.get_state(), torch.random.get_rng_state()
    reseed: tuple[Callable[[int], object], ...] = (random.seed, numpy.random.seed, torch.manual_seed)
    try:
        for seed in reseed:
            seed(987_654)
        yield
    finally:
        random.setstate(own)
        numpy.random.set_state(numbers)
        torch.random.set_rng_state(state)


def _broken(intervention: Intervention, what: str) -> ConformanceError:
    return ConformanceError(f"{intervention} {what}")
