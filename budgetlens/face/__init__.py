"""What a person calls from Python: models, readings, corpora, measurements, runs. `budgetlens/__init__.py` names it."""
