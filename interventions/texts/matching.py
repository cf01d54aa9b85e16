"""A prefix without content in the place of another prefix, token by token."""

from __future__ import annotations

from budgetlens.design.intervention import Context
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import ExampleError, Segment, Trial
from interventions.texts.neutral import neutral_token


def matched(trial: Trial, level: str, context: Context) -> Trial:
    """``trial``, which has the prefix of a level, with as many neutral tokens in its place and all else as it is.

    Positions, their roles, the separator and the document behind it are the same tokens, also where text was joined at the
    boundary: both are tokenized and compared. The separator is fed as text, or as its tokens where that is what it takes.

    Raises ExampleError where no number of tokens does it: the tokenizer joins prefix and document in one token, or writes
    the document otherwise behind the prefix.
    """
    wanted = context.tokenizer(trial)
    count = wanted.encoder_roles.count("prefix")
    (separator,) = (segment for segment in trial.encoder if segment.role == "separator")
    tokens = tuple(
        token
        for token, role in zip(wanted.encoder_ids, wanted.encoder_roles, strict=True)
        if role == "separator"
    )
    forms = ((separator,), (Segment("separator", token_ids=tokens),) if tokens else ())
    if count:
        prefix = Segment("prefix", token_ids=(neutral_token(context.tokenizer),) * count)
        for form in forms:
            found = trial.with_prefix((prefix, *form))
            if _rest(context.tokenizer(found)) == _rest(wanted):
                return found
    raise ExampleError(
        f"example {trial.example.identifier!r}: no neutral tokens can stand in the place of prefix={level}, whose {count} "
        "tokens the tokenizer joins with the separator or the document; leave prefix=matched out, or take neutral:K, which "
        "promises no equal tokens behind it",
        f"no neutral tokens can stand in the place of prefix={level}",
    )


def _rest(fed: TokenizedTrial) -> list[tuple[str, int]]:
    """Role and id of every encoder position; of the prefix the role alone."""
    return [
        (role, 0 if role == "prefix" else token)
        for token, role in zip(fed.encoder_ids, fed.encoder_roles, strict=True)
    ]
