"""What the built-in corpus is about: six domains, each with attributes and the sentences that tell them.

In a template ``{e}`` is the entity's name, ``{v}`` the value, and ``{S}`` the subject: the name, a
pronoun or "The village". A question that asks *who, what, when, which, how many, why* or names the
attribute alone is answered by the value; a request that begins with *tell, explain* or *state* is answered
by a whole sentence, so that the query fixes the form of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One thing that can be told about an entity, and the ways to tell it and to ask for it."""

    name: str
    value_kind: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    sentence: str

    @property
    def requests(self) -> tuple[str, ...]:
        """Queries whose answer is :attr:`sentence`."""
        return (
            f"tell me the {self.name} of {{e}}",
            f"explain the {self.name} of {{e}} in a sentence",
            f"state the {self.name} of {{e}}",
        )

    @property
    def keywords(self) -> tuple[str, ...]:
        """Queries made of keywords; their answer is the value."""
        return (f"{self.name} of {{e}}", f"{{e}} {self.name}")


@dataclass(frozen=True)
class Domain:
    """A kind of entity: its nouns and its attributes."""

    name: str
    nouns: tuple[str, ...]
    attributes: tuple[Attribute, ...]


SETTLEMENT = Domain(
    "settlement",
    ("village", "town", "harbour"),
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
)

CREATURE = Domain(
    "creature",
    ("creature", "beast", "animal"),
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
)

DEVICE = Domain(
    "device",
    ("device", "machine", "engine"),
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
)

GUILD = Domain(
    "guild",
    ("guild", "order", "company"),
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
)

VESSEL = Domain(
    "vessel",
    ("ship", "vessel", "barge"),
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
)

PLANT = Domain(
    "plant",
    ("plant", "herb", "flower"),
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
)

DOMAINS = (SETTLEMENT, CREATURE, DEVICE, GUILD, VESSEL, PLANT)

#: Sentences that tell no fact.
FILLERS = (
    "Few travellers have heard of this.",
    "The old songs say little about it.",
    "Not everyone agrees on the details.",
    "Some of this was written down long ago.",
    "The rest is told only in the evening by the fire.",
    "Visitors are often surprised to hear it.",
    "Scholars have argued about the matter for a long time.",
    "It is said that the weather was better in those days.",
    "A map of the region hangs in the library.",
    "Nothing more is known for certain.",
    "The letters that told the whole story were lost at sea.",
    "Many people still talk about it in the market.",
    "The following notes were made by a careful clerk.",
    "Every child in the country learns this at school.",
)

#: Queries for everything a document tells about one entity.
DESCRIPTION_REQUESTS = ("describe {e}", "tell me everything about {e}", "give a full account of {e}")


def every_template() -> list[str]:
    """All fixed text of the corpus; the words of the built-in vocabulary are collected from it."""
    texts = [*FILLERS, *DESCRIPTION_REQUESTS, "It", "The"]
    for domain in DOMAINS:
        texts.extend(domain.nouns)
        for attribute in domain.attributes:
            texts.extend((*attribute.statements, *attribute.questions, *attribute.requests))
            texts.extend((*attribute.keywords, attribute.sentence))
    return texts
