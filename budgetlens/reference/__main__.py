"""``python -m budgetlens.reference``: write the corpus, train or continue, measure, write the model."""

from __future__ import annotations

from budgetlens.reference.learning.command import main

if __name__ == "__main__":
    main()
