"""Interventions: what a cell changes, one file each; a newcomer's file in this folder is found by itself."""

from interventions.decoder_prompt import DecoderPrompt
from interventions.intervention import Context, Intervention, intervention
from interventions.prefix import Prefix
from interventions.truncation import Truncate

__all__ = ["Context", "DecoderPrompt", "Intervention", "Prefix", "Truncate", "intervention"]
