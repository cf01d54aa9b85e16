"""What a notebook shows of models, readings and runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.report.page import foreign
from budgetlens.runs.examples_shown import decoder_runs, encoder_runs, notes_on
from budgetlens.runs.records import Fed
from figures.theme import ROLE_COLOURS, ROLES

#: So many answer tokens have their likelihood shown.
TOKENS_SHOWN = 40


def reading_html(
    name: str, fed: Fed, tokenizer: TrialTokenizer, losses: pd.Series, budgets: pd.DataFrame
) -> str:
    """The texts by role, the likelihood token by token, and the mean shares by role.

    ``losses`` are nats by row and token of the answer, ``budgets`` a reading's.
    """
    trial = fed.trial
    return (
        _environment()
        .get_template("reading.html")
        .render(
            name=name,
            nll=losses.mean(),
            cell=fed.cell,
            encoder=encoder_runs(trial, tokenizer),
            decoder=decoder_runs(trial, tokenizer),
            colours=dict(ROLE_COLOURS),
            roles=trial.role_counts(),
            notes=notes_on(trial),
            tokens=[(token, value) for (_, token), value in losses.head(TOKENS_SHOWN).items()],
            more_tokens=max(0, len(losses) - TOKENS_SHOWN),
            shares=_mean_shares(budgets),
        )
    )


def _mean_shares(budgets: pd.DataFrame) -> pd.DataFrame:
    """The decoder's shares, block × role, mean over layers and heads; NaN where a block has no such keys."""
    own = budgets[budgets["side"] == "decoder"]
    means = own.groupby(["block", "role"], sort=False)["share"].mean().unstack("role")
    return means[[role for role in ROLES if role in means.columns]]


def model_html(name: str, facts: Mapping[str, str]) -> str:
    """A model's facts as a table."""
    return _environment().get_template("model.html").render(name=name, facts=facts)


def run_html(**facts: Any) -> str:
    """A finished run: its title, question, setting, conclusion, caveats, and what it has to look at."""
    return _environment().get_template("run.html").render(facts)


@cache
def _environment() -> Environment:
    found = Environment(loader=PackageLoader("budgetlens.face"), autoescape=True, undefined=StrictUndefined)
    found.filters["foreign"] = lambda text: Markup(foreign(text))
    return found
