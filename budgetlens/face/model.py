"""A model as a person has it in Python: loaded by name or wrapped, and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from budgetlens.design.intervention import Intervention
from budgetlens.face.arguments import path_given, text_given, whole_number
from budgetlens.face.reading import Reading, Rows, read_texts
from budgetlens.model import loading
from budgetlens.model.in_memory import wrap_model
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.tokenization import Limits
from budgetlens.runs.known_models import model_path, short_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Model:
    """An encoder-decoder model that can be read: `load_model` and `wrap` make it.

    ``loaded`` holds the weights, the tokenizer and where attention is called, for code that works below this face.

    Examples:
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> sorted(model.depths)
        ['decoder', 'encoder']
    """

    loaded: LoadedModel

    @property
    def name(self) -> str:
        """The name that it was loaded by."""
        return short_name(self.loaded.name)

    @property
    def identity(self) -> str:
        """Which weights these are: the hub's commit, or a hash of files or of what is in memory."""
        return self.loaded.identity

    @property
    def depths(self) -> dict[str, int]:
        """Number of layers of the encoder and of the decoder."""
        return dict(self.loaded.trial_tokenizer.depths)

    def read(
        self,
        *,
        document: str,
        answer: str,
        query: str = "",
        prefix: str = "",
        interventions: Sequence[str | Intervention] | None = (),
        probes: Sequence[str | Any] | None = None,
        rows: Rows = "predicting",
    ) -> Reading:
        """Read what the model does with some texts: the encoder gets the document, the decoder the query and the answer.

        Args:
            document: what the encoder reads.
            answer: what the decoder is made to say; its likelihood and attention are read.
            query: the decoder's prompt before the answer; empty for none.
            prefix: text before the document in the encoder, with a line break between; empty for none.
            interventions: levels, ``"hidden=prefix+separator"``, ``"knockout=predicting->document@50%-100%"``,
                ``"prefix=oracle"``, or instances, of classes that the notebook defines too; made in this order behind
                prefix and query. ``budgetlens list interventions`` tells them all.
            probes: names or instances of what is measured at once; the usual ones by default. The answer's likelihood
                always is, and others are when they are asked for.
            rows: whose attention is read: of the rows that predict the answer's tokens, of those that hold them, or
                (``generated``) of those that predict the tokens of the model's own greedy answer of at most 32 tokens, under
                the same interventions; the likelihood is that of ``answer`` all the same.

        Returns:
            The reading: ``nll``, ``token_nll``, ``logits``, ``budgets``, ``records(…)``, ``attention(layer=…)``, ``plot()``.

        Raises:
            ValueError: an empty document or answer; as ExampleError one that the model can't be fed, as LevelError or
                RegistryError an intervention or probe that there is not, as EditError one that changes nothing here, as
                GenerationError one under which no answer can be generated.
            TypeError: a text that is none.

        Warns:
            UserWarning: texts are cut at the model's limits.
        """
        return read_texts(
            self.loaded,
            document=document,
            query=query,
            answer=answer,
            prefix=prefix,
            interventions=interventions,
            probes=probes,
            rows=rows,
        )

    def __repr__(self) -> str:
        return (
            f"Model {self.name} ({self.loaded.family.name}, {self._layers}, {self._softmax}, {self.parameters:,} "
            f"parameters, {self.loaded.device}, {self._dtype}); .read(document=…, query=…, answer=…)"
        )

    @property
    def _layers(self) -> str:
        return " and ".join(f"{count} {stack}" for stack, count in self.depths.items()) + " layers"

    @property
    def _softmax(self) -> str:
        return "one softmax" if self.loaded.family.merged else "self- and cross-attention apart"

    @property
    def _dtype(self) -> str:
        return str(self.loaded.dtype).removeprefix("torch.")

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.loaded.model.parameters())

    def _repr_html_(self) -> str:
        """What it is, and what can be asked of it, in a notebook."""
        from budgetlens.face.shown import model_html

        facts = {
            "family": self.loaded.family.name,
            "layers": self._layers,
            "attention": self._softmax,
            "parameters": f"{self.parameters:,}",
            "device": str(self.loaded.device),
            "type": self._dtype,
            "longest encoder input": f"{self.loaded.trial_tokenizer.limits.encoder} tokens",
            "identity": self.identity,
        }
        return model_html(self.name, facts)


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_encoder_tokens: int | None = None,
) -> Model:
    """Load an encoder-decoder model and prove that its attention can be read and changed.

    Args:
        name: a hub name, a directory, or ``reference``, the small model that comes with budgetlens.
        revision: branch, tag or commit of a hub model.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: ``auto`` (the checkpoint's on a GPU, float32 on a CPU), ``float32``, ``bfloat16`` or ``float16``.
        max_encoder_tokens: longest encoder input, 2048 by default; what is longer is cut.

    Raises:
        ValueError: as ModelError a name that can't be loaded, with what to do; as UnknownFamilyError an architecture
            that is not declared; as ContractError a model that fails the proof.

    Examples:
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> reading = model.read(document="Orla Venn built the mill.", query="who built the mill", answer="Orla Venn")
        >>> reading.nll > 0
        True
    """
    # As it was written: a hub name is no path.
    path_given("name", name)
    found = loading.load_model(
        model_path(str(name)),
        revision=revision,
        device=device,
        dtype=dtype,
        limits=_limits(max_encoder_tokens),
    )
    return Model(found)


def wrap(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str = "",
    max_encoder_tokens: int | None = None,
) -> Model:
    """Take a Hugging Face model that is in memory, and prove that its attention can be read and changed.

    The model itself is used, not a copy: it is put in evaluation mode, and its parameters ask for no gradients any
    more. Its identity is a hash of weights, configuration and tokenizer as they are now; wrap it again when they change.

    Args:
        model: an encoder-decoder model of a known family, loaded with an attention implementation that is exact there.
        tokenizer: its fast tokenizer.
        name: what it is called in records and errors; its own name or class by default.
        max_encoder_tokens: longest encoder input, 2048 by default; what is longer is cut.

    Raises:
        ValueError: as :func:`load_model` does, and where something else than a model and a tokenizer is given.

    Examples:
        >>> import budgetlens as bl
        >>> loaded = bl.load_model("reference").loaded
        >>> bl.wrap(loaded.model, loaded.tokenizer, name="mine").name
        'mine'
    """
    return Model(
        wrap_model(model, tokenizer, name=text_given("name", name), limits=_limits(max_encoder_tokens))
    )


def _limits(encoder_tokens: int | None) -> Limits | None:
    if encoder_tokens is None:
        return None
    return Limits(encoder=whole_number("max_encoder_tokens", encoder_tokens, 1))
