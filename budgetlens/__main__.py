"""`python -m budgetlens` is the command `budgetlens`."""

import sys

from budgetlens.command.main import main

if __name__ == "__main__":
    sys.exit(main())
