"""Interventions: what a cell changes, one file each; a newcomer's file in this folder is found by itself."""

from interventions.decoder_prompt import DecoderPrompt
from interventions.intervention import Context, Intervention, intervention
from interventions.padding import PadDocument
from interventions.prefix import Prefix
from interventions.shuffling import Shuffle
from interventions.truncation import Truncate

__all__ = [
    "Context",
    "DecoderPrompt",
    "Intervention",
    "PadDocument",
    "Prefix",
    "Shuffle",
    "Truncate",
    "intervention",
]
