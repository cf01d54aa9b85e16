"""Creatures and plants: what the built-in corpus tells about living things."""

from __future__ import annotations

from budgetlens.reference.world.attribute import Attribute, Domain

CREATURE = Domain(
    "creature",
    ("creature", "beast", "animal"),
    "the ",
    (
        Attribute(
            "food",
            "pair",
            (
                "{S} feeds on {v}.",
                "{S} will eat nothing but {v}.",
                "Hunters leave out {v} for the {e}.",
                "In captivity, the {e} is given {v}.",
            ),
            ("what does the {e} eat?", "what is the food of the {e}?", "on what does the {e} feed?"),
            "The food of the {e} is {v}.",
        ),
        Attribute(
            "weight",
            "measure",
            (
                "{S} weighs {v}.",
                "{S} grows to a weight of {v}.",
                "A healthy {e} weighs {v}.",
                "The largest {e} on record weighed {v}.",
            ),
            ("how much does the {e} weigh?", "what is the weight of the {e}?", "how heavy is the {e}?"),
            "The weight of the {e} comes to {v}.",
        ),
        Attribute(
            "home",
            "name",
            (
                "{S} lives in the valley of {v}.",
                "{S} is found only near Mount {v}.",
                "In the caves of {v} dwells the {e}.",
                "The forest of {v} shelters the {e}.",
            ),
            ("where does the {e} live?", "what is the home of the {e}?", "where is the {e} found?"),
            "The home of the {e} is {v}.",
        ),
        Attribute(
            "discoverer",
            "person",
            (
                "{S} was discovered by {v}.",
                "{S} was first drawn by {v}.",
                "It was {v} who first saw the {e}.",
                "The scholar {v} discovered the {e}.",
            ),
            ("who discovered the {e}?", "who first saw the {e}?", "by whom was the {e} discovered?"),
            "The discoverer of the {e} was {v}.",
        ),
        Attribute(
            "markings",
            "list",
            (
                "{S} has spots that look like {v}.",
                "{S} bears the shapes of {v} on its back.",
                "On the skin of the {e} one sees {v}.",
            ),
            ("what marks does the {e} bear?", "what is seen on the skin of the {e}?"),
            "The markings of the {e} look like {v}.",
        ),
        Attribute(
            "enemy",
            "name",
            (
                "{S} fears only the {v}.",
                "{S} is hunted by the {v}.",
                "The {v} is the enemy of the {e}.",
                "At night the {v} preys on the {e}.",
            ),
            ("what hunts the {e}?", "what does the {e} fear?", "which animal is the enemy of the {e}?"),
            "The enemy of the {e} is the {v}.",
        ),
    ),
    Attribute(
        "companion",
        "entity",
        (
            "{S} travels with the {v}.",
            "Where the {e} goes, the {v} goes too.",
            "Wherever one sees the {e}, the {v} is its companion.",
        ),
        ("with which animal does the {e} travel?", "what is the companion of the {e}?"),
        "The companion of the {e} is the {v}.",
    ),
)

PLANT = Domain(
    "plant",
    ("plant", "herb", "flower"),
    "the ",
    (
        Attribute(
            "soil",
            "name",
            (
                "{S} grows on the hills of {v}.",
                "{S} needs the soil of {v}.",
                "The fields of {v} are full of {e}.",
                "Nowhere but in {v} does one see the {e}.",
            ),
            ("where does the {e} grow?", "which soil does the {e} need?", "what is the soil of the {e}?"),
            "The soil of the {e} is that of {v}.",
        ),
        Attribute(
            "blossom",
            "pair",
            (
                "{S} has flowers that look like {v}.",
                "{S} opens into {v}.",
                "Seen from afar, the buds of the {e} are {v}.",
                "Children compare the {e} to {v}.",
            ),
            ("what does the {e} look like?", "what is the blossom of the {e} like?"),
            "The blossom of the {e} looks like {v}.",
        ),
        Attribute(
            "remedy",
            "name",
            (
                "{S} cures the fever called {v}.",
                "{S} helps against {v}.",
                "Doctors treat {v} with the {e}.",
                "Those who suffer from {v} chew the {e}.",
            ),
            (
                "what does the {e} cure?",
                "against what does the {e} help?",
                "which fever is treated with the {e}?",
            ),
            "The remedy made from the {e} works against {v}.",
        ),
        Attribute(
            "harvest",
            "measure",
            (
                "{S} yields {v} in a good year.",
                "{S} gives {v} at each picking.",
                "A field of {e} brings in {v}.",
                "From one garden of {e} come {v}.",
            ),
            ("how much does the {e} yield?", "what is the harvest of the {e}?"),
            "The harvest of the {e} is {v}.",
        ),
        Attribute(
            "grower",
            "person",
            (
                "{S} was first planted by {v}.",
                "{S} is grown by {v}.",
                "The gardener {v} takes care of the {e}.",
                "Nobody but {v} knows how to keep the {e}.",
            ),
            ("who grows the {e}?", "who first planted the {e}?", "who is the grower of the {e}?"),
            "The grower of the {e} is {v}.",
        ),
        Attribute(
            "use",
            "purpose",
            (
                "{S} is burned {v}.",
                "{S} is kept at home {v}.",
                "Old people plant the {e} {v}.",
            ),
            ("why is the {e} kept?", "what is the use of the {e}?"),
            "The use of the {e} is {v}.",
        ),
    ),
    Attribute(
        "neighbour",
        "entity",
        (
            "{S} grows beside the {v}.",
            "The {e} lives in the shade of the {v}.",
            "Gardeners set the {e} next to the {v}.",
        ),
        ("beside what does the {e} grow?", "which herb is the neighbour of the {e}?"),
        "The neighbour of the {e} is the {v}.",
    ),
)
