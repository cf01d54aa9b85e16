"""The invented part of the built-in corpus: names, numbers and other values.

A name is two syllables, each one token of the built-in tokenizer. The space of names is split by a
checksum: no name of the test part is ever drawn for the train part, whatever the seed.
"""

from __future__ import annotations

import random
import zlib
from itertools import product


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ONSETS = "bdfghjklmnprstvz"
VOWELS = "aeiou"
CODAS = "dgklmnrstvz"
SYLLABLES_PER_POSITION = 180

#: Syllables that are English words of their own would tie with a word of the templates.
ENGLISH_SYLLABLES = frozenset(
    _words(
        """
        bad bag bar bat bed beg bet bid big bit bog bud bug bus but dad did dig dim dog dot dug fan far
        fat fed fig fin fit fog for fun fur gas gel get god got gum gun gut had hag ham has hat hem hen
        her hid him his hit hog hot hug hum hut jar jet job jug jut kid kin kit lad lag led leg let lid
        lit log lot lug mad man mat men met mid mud mug nag net nod nor not nun nut pan pat peg pen per
        pet pig pin pit pod pot pun put rag ram ran rat red rid rig rim rod rot rug rum run rut sad sag
        sat set sin sit sod sum sun tag tan tar ten tin tug van vat vet vim vol war zig zit
        """
    )
)
COLOURS = _words(
    """
    amber azure black blue bronze brown copper crimson gold green grey ivory orange pale pink purple
    red rusty scarlet silver teal violet white yellow
    """
)
THINGS = _words(
    """
    anchors arrows banners barrels baskets beads bells blankets boots bowls bridges candles carpets
    chains clocks coins combs drums feathers flutes gates hammers hats helmets horns jars kettles
    keys knives ladders lamps lanterns maps masks mirrors needles nets ovens paddles pipes plates
    ribbons ropes saddles sails shields spoons stones swords tents tiles wheels
    """
)
ANIMALS = _words(
    """
    bees crabs crows eels foxes frogs goats hares moths mules newts owls snails spiders toads wolves
    """
)
SEASONS = _words("spring summer autumn winter")
EVENTS = _words("flood frost harvest market eclipse storm wedding parade")
VERBS = _words("carry guard hide mend paint sell trade weigh")
UNITS = _words("spans rods leagues paces stones casks bushels crates")

#: Kinds of value an attribute may take; see :func:`draw_value`.
VALUE_KINDS = ("name", "person", "year", "count", "measure", "pair", "list", "purpose")


def _syllables(seed: int) -> tuple[str, ...]:
    every = ["".join(letters) for letters in product(ONSETS, VOWELS, CODAS)]
    allowed = [syllable for syllable in every if syllable not in ENGLISH_SYLLABLES]
    return tuple(sorted(random.Random(seed).sample(allowed, SYLLABLES_PER_POSITION)))


FIRST_SYLLABLES = _syllables(11)
LAST_SYLLABLES = _syllables(12)


def part_of_name(name: str) -> str:
    """The part, ``"train"`` or ``"test"``, that may use ``name``; a fifth of all names are for the test."""
    return "test" if zlib.crc32(name.encode()) % 5 == 0 else "train"


def draw_name(generator: random.Random, part: str, taken: set[str] | None = None) -> str:
    """A name of ``part`` that is not in ``taken``; the drawn name is added to ``taken``."""
    while True:
        name = (generator.choice(FIRST_SYLLABLES) + generator.choice(LAST_SYLLABLES)).capitalize()
        if part_of_name(name) == part and (taken is None or name not in taken):
            if taken is not None:
                taken.add(name)
            return name


def draw_value(generator: random.Random, kind: str, part: str, taken: set[str]) -> str:
    """A value of ``kind``; every name in it belongs to ``part`` and is new.

    Raises:
        ValueError: ``kind`` is none of :data:`VALUE_KINDS`.
    """
    if kind == "name":
        return draw_name(generator, part, taken)
    if kind == "person":
        return f"{draw_name(generator, part, taken)} {draw_name(generator, part, taken)}"
    if kind == "year":
        return str(generator.randrange(1000, 2000))
    if kind == "count":
        return str(generator.randrange(1000, 10000))
    if kind == "measure":
        return f"{generator.randrange(10, 100)} {generator.choice(UNITS)}"
    if kind == "pair":
        return f"{generator.choice(COLOURS)} {generator.choice(THINGS)}"
    if kind == "list":
        first, second = generator.sample(THINGS, 2)
        colours = generator.sample(COLOURS, 2)
        return f"{colours[0]} {first} and {colours[1]} {second}"
    if kind == "purpose":
        text = f"to {generator.choice(VERBS)} {generator.choice(COLOURS)} {generator.choice(THINGS)}"
        text += f" from {draw_name(generator, part, taken)}"
        if generator.random() < 0.6:
            text += f" to {draw_name(generator, part, taken)}"
        text += f" before the {generator.choice(SEASONS)} {generator.choice(EVENTS)}"
        if generator.random() < 0.4:
            text += f" without waking the {generator.choice(COLOURS)} {generator.choice(ANIMALS)}"
        return text
    raise ValueError(f"unknown kind of value {kind!r}; the kinds are {VALUE_KINDS}")
