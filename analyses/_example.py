"""A file to copy: without the underscore in its name, `budgetlens run mine` runs what it defines."""

from __future__ import annotations

from budgetlens import Analysis, Factor, Plan, analysis, crossed, effect


def plan() -> Plan:
    """The design of one protocol, and what is compared."""
    # Each factor is an intervention by name, its levels are text; the first one is the baseline. All are crossed.
    design = crossed(
        [Factor("prefix", ("none", "oracle")), Factor("prompt", ("none", "query"))],
        aliases={
            ("none", "query"): "bare",
            ("oracle", "query"): "oracle",
        },  # short names, in the factors' order
    )
    # Baseline and treatment of a factor, the others held; the difference of two effects is their interaction.
    with_query = effect(prefix=("none", "oracle"), prompt="query").named(
        "oracle prefix, with the query", "prefix"
    )
    contrasts = (with_query.contrast(design.cells),)
    return Plan(
        design=design,
        rows="predicting",  # whose attention is read: the rows that predict the answer's tokens
        probes=("budgets",),  # what is measured besides the answer's likelihood
        contrasts=contrasts,  # tested on the likelihood, corrected within a family
        share_contrasts=contrasts,  # tested on what the probes measure, layer by layer
    )


@analysis("mine")  # its name: budgetlens run mine, design mine, show mine
def mine() -> Analysis:
    """A prefix that is the query, with and without the query in the decoder."""
    return Analysis(
        name="mine",
        title="My analysis",
        question="Does the query as a prefix help an answer whose decoder has the query?",
        plans={"corrected": plan()},
        n=100,
    )
