"""08: what does the decoder gain from the query that random text of its length does not give?"""

from __future__ import annotations

import sys

from analyses.studies.encoder_by_prompt import content_conclusion, plan
from budgetlens.design.analysis import Analysis, analysis

#: From no prompt to the query, by protocol.
PROMPTS = {"corrected": ("none", "random-text", "query"), "published": ("none", "random", "query")}


@analysis("exp08")
def exp08() -> Analysis:
    """{bare, oracle} × {no prompt, random tokens, query}; the default protocol adds sink and position controls.

    The published random prompt draws from all token ids, the corrected one from ordinary text tokens: a length and
    noise. Beside it stand the query's own words shuffled and another example's query.
    """
    return Analysis(
        name="exp08",
        title="Decoder length control",
        question="Is a query in the decoder worth more than random text of its length?",
        plans={protocol: plan(protocol, prompts) for protocol, prompts in PROMPTS.items()},
        conclusion=lambda protocol: content_conclusion(protocol, PROMPTS[protocol]),
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp08", *sys.argv[1:]]))
