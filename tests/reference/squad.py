"""SQuAD's scores of one answer against one right answer, character by character and without a regular expression.

Written from the definition (Rajpurkar et al. 2016, section 6.1): lower case, no ASCII punctuation, no article, single
spaces.
Imports nothing of the project and shares no code with it.
"""

from __future__ import annotations

#: ASCII's punctuation: what is visible and neither a letter nor a digit.
PUNCTUATION = {chr(code) for code in range(33, 127) if not chr(code).isalnum()}


def words(text: str) -> list[str]:
    kept = "".join(character for character in text.lower() if character not in PUNCTUATION)
    found, word = [], ""
    for character in [*kept, " "]:
        if not character.isspace():
            word += character
            continue
        found.append(word)
        word = ""
    return [own for word in found for own in without_articles(word)]


def without_articles(word: str) -> list[str]:
    """A word's parts that are no article: what is no letter, digit or underscore parts words as a space does."""
    runs, run, solid = [], "", True
    for character in word:
        is_solid = character.isalnum() or character == "_"
        if run and is_solid != solid:
            runs.append(run)
            run = ""
        run, solid = run + character, is_solid
    runs.append(run)
    blanked = "".join(" " if own in ("a", "an", "the") else own for own in runs)
    return blanked.split()


def scores(answer: str, right: str) -> tuple[float, float, float]:
    """Exact match, F1 and recall."""
    own, wanted = words(answer), words(right)
    if not own or not wanted:
        same = float(own == wanted)
        return same, same, same
    left, common = list(wanted), 0
    for word in own:
        if word in left:
            left.remove(word)
            common += 1
    precision, recall = common / len(own), common / len(wanted)
    f1 = 2 * precision * recall / (precision + recall) if common else 0.0
    return float(own == wanted), f1, recall
