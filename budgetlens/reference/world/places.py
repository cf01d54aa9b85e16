"""Settlements and guilds: what the built-in corpus tells about places and the people in them."""

from __future__ import annotations

from budgetlens.reference.world.attribute import Attribute, Domain

SETTLEMENT = Domain(
    "settlement",
    ("village", "town", "harbour"),
    "",
    (
        Attribute(
            "ruler",
            "person",
            (
                "{S} is ruled by {v}.",
                "{S} obeys the orders of {v}.",
                "By common vote, {v} rules over {e}.",
                "The seal of {e} is kept by {v}.",
            ),
            ("who rules {e}?", "who is the ruler of {e}?", "by whom is {e} ruled?"),
            "The ruler of {e} is called {v}.",
        ),
        Attribute(
            "river",
            "name",
            (
                "{S} lies on the river {v}.",
                "{S} draws all of its water from the {v}.",
                "The river {v} flows past the walls of {e}.",
                "Boats reach {e} along the {v}.",
            ),
            (
                "which river flows past {e}?",
                "on which river does {e} lie?",
                "what is the river of {e} called?",
            ),
            "The river that flows past {e} is the {v}.",
        ),
        Attribute(
            "population",
            "count",
            (
                "{S} has {v} people.",
                "{S} is home to {v} souls.",
                "At the last count, {v} people lived in {e}.",
                "About {v} families have settled in {e}.",
            ),
            ("how many people live in {e}?", "what is the population of {e}?", "how large is {e}?"),
            "The population of {e} is {v}.",
        ),
        Attribute(
            "founding",
            "year",
            (
                "{S} was founded in {v}.",
                "{S} dates from the year {v}.",
                "In {v}, the first stone of {e} was laid.",
                "The oldest house in {e} was built in {v}.",
            ),
            ("when was {e} founded?", "in which year was {e} founded?", "how old is {e}?"),
            "The founding of {e} took place in the year {v}.",
        ),
        Attribute(
            "trade",
            "pair",
            (
                "{S} is famous for its {v}.",
                "{S} makes and sells {v}.",
                "Merchants come to {e} for {v}.",
                "The best {v} are made in {e}.",
            ),
            ("what is {e} famous for?", "what is made in {e}?", "what do merchants buy in {e}?"),
            "The trade of {e} is in {v}.",
        ),
        Attribute(
            "purpose",
            "purpose",
            (
                "{S} was built {v}.",
                "{S} exists only {v}.",
                "The people of {e} came together {v}.",
            ),
            ("why was {e} built?", "what is the purpose of {e}?"),
            "The purpose of {e} is {v}.",
        ),
    ),
    Attribute(
        "supplier",
        "entity",
        (
            "{S} gets its grain from {v}.",
            "The grain of {e} comes from {v}.",
            "Each week, carts bring grain from {v} to {e}.",
        ),
        ("from where does {e} get its grain?", "which place is the supplier of {e}?"),
        "The supplier of {e} is {v}.",
    ),
)

GUILD = Domain(
    "guild",
    ("guild", "order", "company"),
    "the ",
    (
        Attribute(
            "leader",
            "person",
            (
                "{S} is led by {v}.",
                "{S} takes its orders from {v}.",
                "The members elected {v} to lead the {e}.",
                "For years, {v} has led the {e}.",
            ),
            ("who leads the {e}?", "who is the leader of the {e}?", "by whom is the {e} led?"),
            "The leader of the {e} is {v}.",
        ),
        Attribute(
            "members",
            "count",
            (
                "{S} counts {v} members.",
                "{S} has sworn in {v} members.",
                "The books of the {e} list {v} names.",
                "Today {v} people belong to the {e}.",
            ),
            ("how many members does the {e} have?", "how many people belong to the {e}?"),
            "The members of the {e} number {v}.",
        ),
        Attribute(
            "emblem",
            "pair",
            (
                "{S} wears {v} on its coat.",
                "{S} chose {v} for its emblem.",
                "On the flag of the {e} one sees {v}.",
                "The emblem of the {e} shows {v}.",
            ),
            ("what is the emblem of the {e}?", "what is on the flag of the {e}?", "what does the {e} wear?"),
            "The emblem of the {e} shows {v}.",
        ),
        Attribute(
            "seat",
            "name",
            (
                "{S} meets in the city of {v}.",
                "{S} has its hall in {v}.",
                "The council of the {e} sits in {v}.",
                "From its tower in {v}, the {e} watches the roads.",
            ),
            ("where does the {e} meet?", "where is the seat of the {e}?", "in which city does the {e} sit?"),
            "The seat of the {e} is in {v}.",
        ),
        Attribute(
            "charter",
            "year",
            (
                "{S} received its charter in {v}.",
                "{S} was formed in {v}.",
                "In {v}, the king signed the charter of the {e}.",
                "The records of the {e} begin in {v}.",
            ),
            (
                "when was the {e} formed?",
                "when did the {e} receive its charter?",
                "in which year was the {e} formed?",
            ),
            "The charter of the {e} was signed in {v}.",
        ),
        Attribute(
            "duty",
            "purpose",
            (
                "{S} was formed {v}.",
                "{S} is paid {v}.",
                "Members of the {e} swear {v}.",
            ),
            ("what is the duty of the {e}?", "why was the {e} formed?"),
            "The duty of the {e} is {v}.",
        ),
    ),
    Attribute(
        "rival",
        "entity",
        (
            "{S} quarrels with the {v}.",
            "The {e} has lost many pupils to the {v}.",
            "No member of the {e} may speak to the {v}.",
        ),
        ("with whom does the {e} quarrel?", "which order is the rival of the {e}?"),
        "The rival of the {e} is the {v}.",
    ),
)
