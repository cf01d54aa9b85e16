"""Analyses: what is asked; the studies that they share are below. A newcomer's file in this folder is found by itself."""

import sys

from budgetlens.registry.folders import HiddenFolderError, require_own_folders
from budgetlens.registry.moved import tell_of_moved_modules

try:
    # Before an analysis imports one of the other folders: `python -m analyses.exp05…` does not pass through the command.
    require_own_folders()
except HiddenFolderError as error:
    # Python looks for the module of -m now, and would show where in its own machinery this was raised.
    if sys.argv[:1] == ["-m"]:
        print(f"budgetlens: {error}", file=sys.stderr)
        sys.exit(2)
    raise
tell_of_moved_modules()
