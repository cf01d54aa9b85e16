"""The built-in model and corpus: a small T5Gemma 2 and generated English about things that do not exist.

``python -m budgetlens.reference`` (or ``make reference``) repeats the training of the shipped weights.
"""
