"""The built-in model and corpus: a small T5Gemma 2 and generated English about things that do not exist.

``world`` generates the texts, ``learning`` trains the model. ``python -m budgetlens.reference`` (or ``make
reference``) repeats both, ``python -m budgetlens.reference.learning.publication`` measures the shipped model again.
"""
