"""Levels in words: reading the text of an intervention's level, with errors that say what is expected."""

from typing import TYPE_CHECKING, NoReturn

from budgetlens.registry.moved import missing_name

# A type checker that saw it would take every name for one of this package's.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        """Tell of names that this package had while it was a module."""
        raise missing_name(__name__, name)
