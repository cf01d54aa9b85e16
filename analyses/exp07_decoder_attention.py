"""07: where the answer's attention goes, with and without the query in the decoder."""

from __future__ import annotations

import sys

from analyses.studies.encoder_by_prompt import plan, prefix_conclusion
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.plan import PROTOCOLS


@analysis("exp07")
def exp07() -> Analysis:
    """{bare, oracle} × {no prompt, query}, with the sink and position controls under the default protocol."""
    return Analysis(
        name="exp07",
        title="Decoder attention",
        question="Where does the answer's attention go, and does a co-encoded query still help a decoder that has it?",
        plans={protocol: plan(protocol, ("none", "query")) for protocol in PROTOCOLS},
        conclusion=prefix_conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp07", *sys.argv[1:]]))
