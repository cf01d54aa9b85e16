"""The corrections of p-values within a family that there are, by name; no numpy, since options tell them."""

from __future__ import annotations

from typing import Literal

Correction = Literal["none", "holm", "bonferroni", "fdr"]

#: What each is called in a caption.
CORRECTION_NAMES = {
    "none": "no correction",
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "fdr": "Benjamini-Hochberg false discovery rate",
}
