"""A setting in which every id can be written down: one token per word, ``word17`` has the id 17."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from budgetlens.design.intervention import Context
from budgetlens.model.tokenization import Limits, TrialTokenizer
from budgetlens.model.trials import Example

#: The published fill draws from [100, V - 100): a vocabulary with room for it.
VOCABULARY = 400
PAD, END, BEGIN, UNKNOWN, LINE = range(5)
#: Id of ``the``, the only neutral word of this vocabulary; the words are 5 to 398.
THE = 399


def trial_tokenizer(limits: Limits | None = None) -> TrialTokenizer:
    """BOS and EOS, one token per word and one per line break."""
    vocabulary = {"<pad>": PAD, "</s>": END, "<s>": BEGIN, "<unk>": UNKNOWN, "\n": LINE, "the": THE}
    vocabulary |= {f"word{number}": number for number in range(5, THE)}
    core = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    lines = pre_tokenizers.Split("\n", behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.Split(" ", behavior="removed")])
    core.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    return TrialTokenizer(fast, 0, limits)


TOKENIZER = trial_tokenizer()


def words(*numbers: int) -> str:
    """``word10 word11 …``"""
    return " ".join(f"word{number}" for number in numbers)


#: Example i has a query of 2 + i words and a document of its own.
EXAMPLES = tuple(
    Example(
        identifier=f"example {index}",
        query=words(*range(10 + index, 12 + 2 * index)),
        document=words(*range(100 + 20 * index, 112 + 20 * index)),
        answer=words(50 + index),
    )
    for index in range(5)
)


def context_of(
    index: int,
    seed: int = 42,
    examples: Sequence[Example] = EXAMPLES,
    *,
    draw: int = 0,
    tokenizer: TrialTokenizer = TOKENIZER,
    pool: Sequence[str] = (),
) -> Context:
    """What an intervention is told about example ``index``."""
    return Context(
        index=index,
        examples=examples,
        tokenizer=tokenizer,
        vocabulary_size=VOCABULARY,
        seed=seed,
        draw=draw,
        padding_pool=pool,
    )
