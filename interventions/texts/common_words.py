"""A hundred common English words of eight letters: the pool that ``prefix=pool`` draws from."""

from __future__ import annotations

_WORDS = """
absolute academic accident accurate activity addition advanced afforded although analysis
announce approach argument attitude audience bathroom becoming behavior birthday building
business calendar campaign capacity category champion chemical children clothing complete
computer conclude concrete conflict congress consider constant continue contract convince
creative cultural customer database daughter decision delivery describe designer detailed
dinosaur director disaster discount discover disorder distance district document dominant
dramatic economic educated election electric elephant employee engineer entirely envelope
estimate everyone evidence exchange exercise expected explicit facility familiar favorite
festival fourteen frequent friendly function generate governor graduate hospital identify
incident increase industry innocent internet keyboard language magazine mountain neighbor
"""

#: In alphabetical order: a draw names places in this tuple, so its order is part of the published seeding.
COMMON_WORDS: tuple[str, ...] = tuple(_WORDS.split())
