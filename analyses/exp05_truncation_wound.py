"""05: why does a sentence as prefix hurt once it is hidden: because it is a sentence, or because it is this one's?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import ORACLE, OTHER_QUERY, PrefixLevel, PrefixStudy
from analyses.studies.two_by_two import Property, TwoByTwo, effects_of
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.design.effects import place
from budgetlens.design.plan import PROTOCOLS, Plan
from budgetlens.registry.labels import Label
from budgetlens.statistics.contrasts import distinct

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

COHERENCE = Property("coherence", "bag of words", "sentence")
OVERLAP = Property("overlap", "another document", "this document")

FIRST, SHUFFLED = "first_sentence", "shuffled_sentence"
WRONG_FIRST, WRONG_SHUFFLED, WRONG_KEYWORDS = (
    "wrong_first_sentence",
    "wrong_shuffled_sentence",
    "wrong_keywords:10",
)

STUDY = PrefixStudy(
    prefixes=(
        ORACLE,
        PrefixLevel("keywords:10", "surr_kw10"),
        PrefixLevel(WRONG_KEYWORDS, "surr_wrong_kw10"),
        PrefixLevel(SHUFFLED, "surr_shuffled_sent", draws=(f"{SHUFFLED}#1",)),
        PrefixLevel("generic", "surr_generic_sent"),
        PrefixLevel(WRONG_FIRST, "surr_wrong_first_sent"),
        PrefixLevel(FIRST, "surr_first_sent"),
    ),
    corrected_prefixes=(
        PrefixLevel(WRONG_SHUFFLED, "surr_wrong_shuffled_sent", draws=(f"{WRONG_SHUFFLED}#1",)),
        OTHER_QUERY,
    ),
    # A sentence that only moved the document would hurt as well.
    taken_apart={FIRST: ("query",)},
)

#: The published crossing takes keywords for the other document's bag of words.
PUBLISHED = "2×2 with keywords"
#: The corrected one takes the words of the other document's first sentence.
CORRECTED = "2×2 with sentences"

#: Effects that are looked at by the sentence's length, by their names.
BY_LENGTH = {
    "sentence": STUDY.prefix(FIRST).name,
    "the same words, shuffled": STUDY.prefix(SHUFFLED).name,
    "coherence, this document": f"coherence | this document, {PUBLISHED}",
}


def crossing(protocol: str, other_bag: str) -> TwoByTwo:
    """The 2 × 2 of coherence and overlap, with ``other_bag`` for the other document's bag of words."""
    levels = {
        (COHERENCE.present, OVERLAP.present): FIRST,
        (COHERENCE.present, OVERLAP.absent): WRONG_FIRST,
        (COHERENCE.absent, OVERLAP.present): SHUFFLED,
        (COHERENCE.absent, OVERLAP.absent): other_bag,
    }
    places = {
        own: STUDY.at(place(prefix=STUDY.draws(protocol, level), prompt="query"), protocol)
        for own, level in levels.items()
    }
    return TwoByTwo(COHERENCE, OVERLAP, places)


def plan(protocol: str) -> Plan:
    """The study's plan with the crossing of coherence and overlap; the corrected one has both crossings."""
    other_bags = {PUBLISHED: WRONG_KEYWORDS} | (
        {} if protocol == "published" else {CORRECTED: WRONG_SHUFFLED}
    )
    cells = STUDY.cells(protocol)
    every = [
        own
        for family, other_bag in other_bags.items()
        for own in crossing(protocol, other_bag).effects(family)
    ]
    # Within the cells that they share the two crossings have the same simple effects.
    kept = {contrast.name for contrast in distinct(own.contrast(cells) for own in every)}
    crossed = [own for own in every if own.name in kept]
    family, other_bag = list(other_bags.items())[-1]
    bag, wrong, sentence = (
        STUDY.prefix(level, "query", protocol) for level in (other_bag, WRONG_FIRST, FIRST)
    )
    return STUDY.plan(
        protocol,
        effects=crossed,
        splits=(
            (
                sentence,
                (
                    bag.named(f"words (none→{other_bag})"),
                    (wrong - bag).named(f"coherence ({other_bag}→{WRONG_FIRST})", wrong.family),
                    (sentence - wrong).named(f"overlap ({WRONG_FIRST}→{FIRST})", wrong.family),
                ),
            ),
        ),
        headline=(STUDY.prefix("oracle"), sentence, *(own for own in crossed if own.family == family)),
    )


def tables(run: Run) -> Mapping[str, Table]:
    """The crossing with the published definition beside it, damage by length, ratios."""
    from analyses.studies.damage_by_length import damage_tables
    from analyses.studies.prefix_ratios import prefix_ratios, ratios_presented
    from budgetlens.tables.presentation import TESTED_COLUMNS, effects_presentation

    plan, protocol = run.plan, run.manifest.protocol
    inference = run.inference
    bare, first = (STUDY.cell(level, protocol).name for level in ("none", FIRST))
    crossed = [contrast for contrast in plan.contrasts if contrast.family.startswith((PUBLISHED, CORRECTED))]
    frame = effects_of(run.outcomes, crossed, bare, inference)
    presented = effects_presentation(
        frame,
        inference,
        title="Coherence × overlap",
        columns=("contrast", *TESTED_COLUMNS[:-1], "difference_of_d", TESTED_COLUMNS[-1]),
    )
    notes = (
        "coherence: bag of words→sentence; overlap: another document→this document",
        f"{PUBLISHED}: the other document's bag of words is its keywords, as published; "
        f"{CORRECTED}: the words of its first sentence, shuffled",
        "difference of d: the published definition, the same weights applied to each cell's d against bare",
    )
    return {
        "coherence_by_overlap": replace(presented, notes=(*presented.notes, *notes)),
        **damage_tables(run, BY_LENGTH, measured_in=first),
        "ratios": ratios_presented(run, prefix_ratios(STUDY)),
    }


def figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    """Damage by the length of the sentence."""
    from analyses.studies.damage_by_length import damage_figures

    return damage_figures(run, tables, effects=tuple(BY_LENGTH))


def conclusion(protocol: str) -> Conclusion:
    """Whether a sentence hurts for being one; beside it, whether it hurts for being this document's."""
    family = PUBLISHED if protocol == "published" else CORRECTED
    main = {
        COHERENCE.name: Label("sentence instead of bag of words", "a sentence instead of a bag of words"),
        OVERLAP.name: Label(
            "own words instead of another's", "this document's words instead of another document's"
        ),
        f"{COHERENCE.name} × {OVERLAP.name}": Label(
            "sentence × own words",
            "a sentence instead of a bag of words × this document's words instead of another's",
        ),
    }
    crossed = (Evidence(f"{name}, {family}", label=label) for name, label in main.items())
    return Conclusion(
        (*crossed, Evidence(STUDY.prefix(FIRST, "query", protocol).name)),
        {
            "positive": "A hidden sentence does not hurt for being a sentence: it does better than a bag of words",
            "negative": "A hidden sentence hurts for being a sentence: a bag of words does better",
            "none": "Whether the prefix is a sentence or a bag of words makes no difference that matters",
            "undecided": "Whether a hidden sentence hurts for being a sentence is open",
        },
    )


@analysis("exp05")
def exp05() -> Analysis:
    """{sentence, bag of words} × {this document, another}; beside them oracle, keywords and a generic sentence.

    The published crossing has keywords where the other document's bag of words stands, which differ from a
    sentence's words in more than order. The default protocol adds the other document's shuffled sentence.
    """
    return Analysis(
        name="exp05",
        title="Truncation wound",
        question="Does a hidden sentence hurt for being a sentence, or for being this document's?",
        plans={protocol: plan(protocol) for protocol in PROTOCOLS},
        tables=tables,
        figures=figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp05", *sys.argv[1:]]))
