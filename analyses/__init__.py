"""Analyses: what is asked; the studies that they share are below. A newcomer's file in this folder is found by itself."""

from budgetlens.registry.moved import tell_of_moved_modules

tell_of_moved_modules()
