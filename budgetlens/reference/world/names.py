"""Invented names: two syllables, each one token of the built-in tokenizer.

The space of names is split by a checksum: no name of the test part is ever drawn for the train part,
whatever the seed.
"""

from __future__ import annotations

import random
import zlib
from itertools import product

ONSETS = "bdfghjklmnprstvz"
VOWELS = "aeiou"
CODAS = "dgklmnrstvz"
SYLLABLES_PER_POSITION = 180

#: Syllables that are English words of their own would tie with a word of the templates.
_ENGLISH = """
    bad bag bar bat bed beg bet bid big bit bog bud bug bus but dad did dig dim dog dot dug fan far
    fat fed fig fin fit fog for fun fur gas gel get god got gum gun gut had hag ham has hat hem hen
    her hid him his hit hog hot hug hum hut jar jet job jug jut kid kin kit lad lag led leg let lid
    lit log lot lug mad man mat men met mid mud mug nag net nod nor not nun nut pan pat peg pen per
    pet pig pin pit pod pot pun put rag ram ran rat red rid rig rim rod rot rug rum run rut sad sag
    sat set sin sit sod sum sun tag tan tar ten tin tug van vat vet vim vol war zig zit
"""
ENGLISH_SYLLABLES = frozenset(_ENGLISH.split())


def _syllables(seed: int) -> tuple[str, ...]:
    every = ["".join(letters) for letters in product(ONSETS, VOWELS, CODAS)]
    allowed = [syllable for syllable in every if syllable not in ENGLISH_SYLLABLES]
    return tuple(sorted(random.Random(seed).sample(allowed, SYLLABLES_PER_POSITION)))


FIRST_SYLLABLES = _syllables(11)
LAST_SYLLABLES = _syllables(12)
SYLLABLE_LETTERS = 3


def part_of_name(name: str) -> str:
    """The part, ``"train"`` or ``"test"``, that may use ``name``; a fifth of all names are for the test."""
    return "test" if zlib.crc32(name.encode()) % 5 == 0 else "train"


def draw_name(generator: random.Random, part: str, taken: set[str], like: str | None = None) -> str:
    """A name of ``part`` that is not in ``taken``, to which it is added.

    ``like`` asks for a name that is easily taken for this one: one of its two syllables is the same.
    """
    while True:
        first, last = generator.choice(FIRST_SYLLABLES), generator.choice(LAST_SYLLABLES)
        if like is not None and generator.random() < 0.5:
            first = like[:SYLLABLE_LETTERS].lower()
        elif like is not None:
            last = like[SYLLABLE_LETTERS:]
        name = (first + last).capitalize()
        if part_of_name(name) == part and name not in taken:
            taken.add(name)
            return name


def draw_names(generator: random.Random, part: str, count: int, taken: set[str], near: float) -> list[str]:
    """``count`` names; each but the first is, with probability ``near``, like one of those before it."""
    names: list[str] = []
    for _ in range(count):
        like = generator.choice(names) if names and generator.random() < near else None
        names.append(draw_name(generator, part, taken, like))
    return names
