"""Devices and vessels: what the built-in corpus tells about things that were built."""

from __future__ import annotations

from budgetlens.reference.world.attribute import Attribute, Domain

DEVICE = Domain(
    "device",
    ("device", "machine", "engine"),
    "the ",
    (
        Attribute(
            "inventor",
            "person",
            (
                "{S} was invented by {v}.",
                "{S} came from the workshop of {v}.",
                "The engineer {v} designed the {e}.",
                "We owe the {e} to {v}.",
            ),
            ("who invented the {e}?", "who designed the {e}?", "who is the inventor of the {e}?"),
            "The inventor of the {e} was {v}.",
        ),
        Attribute(
            "fuel",
            "name",
            (
                "{S} burns {v}.",
                "{S} runs on a salt called {v}.",
                "Without {v}, the {e} stands still.",
                "A spoon of {v} starts the {e}.",
            ),
            ("what does the {e} burn?", "what is the fuel of the {e}?", "on what does the {e} run?"),
            "The fuel of the {e} is called {v}.",
        ),
        Attribute(
            "height",
            "measure",
            (
                "{S} stands {v} tall.",
                "{S} measures {v} from foot to top.",
                "From below, the {e} rises {v}.",
                "A standard {e} is {v} high.",
            ),
            ("how tall is the {e}?", "what is the height of the {e}?", "how high is the {e}?"),
            "The height of the {e} is {v}.",
        ),
        Attribute(
            "function",
            "purpose",
            (
                "{S} is used {v}.",
                "{S} was designed {v}.",
                "Owners of the {e} use it {v}.",
            ),
            ("what is the {e} used for?", "why was the {e} designed?"),
            "The function of the {e} is {v}.",
        ),
        Attribute(
            "parts",
            "list",
            (
                "{S} consists of {v}.",
                "{S} is put together from {v}.",
                "Inside the {e} there are {v}.",
            ),
            ("what does the {e} consist of?", "what is inside the {e}?"),
            "The parts of the {e} are {v}.",
        ),
        Attribute(
            "price",
            "count",
            (
                "{S} costs {v} crowns.",
                "{S} was sold for {v} crowns.",
                "Buyers pay {v} crowns for the {e}.",
                "At auction, {v} crowns were offered for the {e}.",
            ),
            (
                "how much does the {e} cost?",
                "what is the price of the {e}?",
                "for how much was the {e} sold?",
            ),
            "The price of the {e} is {v} crowns.",
        ),
    ),
    Attribute(
        "successor",
        "entity",
        (
            "{S} was replaced by the {v}.",
            "After the {e} came the {v}.",
            "Most owners of the {e} have changed to the {v}.",
        ),
        ("what replaced the {e}?", "which machine is the successor of the {e}?"),
        "The successor of the {e} is the {v}.",
    ),
)

VESSEL = Domain(
    "vessel",
    ("ship", "vessel", "barge"),
    "the ",
    (
        Attribute(
            "captain",
            "person",
            (
                "{S} sails under {v}.",
                "{S} is commanded by {v}.",
                "Captain {v} steers the {e}.",
                "The crew of the {e} trusts {v}.",
            ),
            ("who commands the {e}?", "who is the captain of the {e}?", "under whom does the {e} sail?"),
            "The captain of the {e} is {v}.",
        ),
        Attribute(
            "cargo",
            "list",
            (
                "{S} carries {v}.",
                "{S} was loaded with {v}.",
                "In the hold of the {e} there are {v}.",
            ),
            ("what does the {e} carry?", "what is in the hold of the {e}?"),
            "The cargo of the {e} is {v}.",
        ),
        Attribute(
            "port",
            "name",
            (
                "{S} comes from the port of {v}.",
                "{S} returns to {v} each winter.",
                "The port of {v} is where the {e} was built.",
                "In {v}, the {e} is well known.",
            ),
            (
                "from which port does the {e} come?",
                "where was the {e} built?",
                "what is the port of the {e}?",
            ),
            "The port of the {e} is {v}.",
        ),
        Attribute(
            "length",
            "measure",
            (
                "{S} is {v} long.",
                "{S} measures {v} along the deck.",
                "From bow to stern, the {e} covers {v}.",
                "The keel of the {e} is {v} long.",
            ),
            ("how long is the {e}?", "what is the length of the {e}?"),
            "The length of the {e} is {v}.",
        ),
        Attribute(
            "launch",
            "year",
            (
                "{S} was launched in {v}.",
                "{S} first sailed in {v}.",
                "In {v}, a crowd watched the launch of the {e}.",
                "The logs of the {e} begin in {v}.",
            ),
            ("when was the {e} launched?", "in which year did the {e} first sail?"),
            "The launch of the {e} was in {v}.",
        ),
        Attribute(
            "mission",
            "purpose",
            (
                "{S} was sent out {v}.",
                "{S} crosses the sea {v}.",
                "The owners of the {e} hired it {v}.",
            ),
            ("why was the {e} sent out?", "what is the mission of the {e}?"),
            "The mission of the {e} is {v}.",
        ),
    ),
    Attribute(
        "escort",
        "entity",
        (
            "{S} is followed by the {v}.",
            "In rough water, the {e} calls for the {v}.",
            "The crew of the {e} looks out for the {v}.",
        ),
        ("what follows the {e}?", "which ship is the escort of the {e}?"),
        "The escort of the {e} is the {v}.",
    ),
)
