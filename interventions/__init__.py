"""Interventions: what a cell changes, one file each; a newcomer's file in this folder is found by itself."""

from typing import TYPE_CHECKING, NoReturn

from budgetlens.registry.moved import missing_name, tell_of_moved_modules

tell_of_moved_modules()

# A type checker that saw it would take every name for one of this package's.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        """Tell of names that this package once had."""
        raise missing_name(__name__, name)
