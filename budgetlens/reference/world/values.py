"""What attributes may say: names, persons, years, counts, measures, things and purposes."""

from __future__ import annotations

import random

from budgetlens.reference.world.names import draw_name


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


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

#: Kinds of value that :func:`draw_value` knows. ``entity``, another entity of the document, is drawn with it.
VALUE_KINDS = ("name", "person", "year", "count", "measure", "pair", "list", "purpose")
#: Kinds of which one value can be said to come before another.
ORDERED_KINDS = ("year", "count")


def every_word() -> tuple[str, ...]:
    """All fixed words of values; they belong to the built-in vocabulary."""
    joints = _words("to from before the without waking and")
    return (*COLOURS, *THINGS, *ANIMALS, *SEASONS, *EVENTS, *VERBS, *UNITS, *joints)


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
        return _purpose(generator, part, taken)
    raise ValueError(f"unknown kind of value {kind!r}; the kinds are {VALUE_KINDS}")


def _purpose(generator: random.Random, part: str, taken: set[str]) -> str:
    text = f"to {generator.choice(VERBS)} {generator.choice(COLOURS)} {generator.choice(THINGS)}"
    text += f" from {draw_name(generator, part, taken)}"
    if generator.random() < 0.6:
        text += f" to {draw_name(generator, part, taken)}"
    text += f" before the {generator.choice(SEASONS)} {generator.choice(EVENTS)}"
    if generator.random() < 0.4:
        text += f" without waking the {generator.choice(COLOURS)} {generator.choice(ANIMALS)}"
    return text
