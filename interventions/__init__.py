"""Interventions: what a cell changes, one file each; a newcomer's file in this folder is found by itself."""

from interventions.decoder_prompt import DecoderPrompt
from interventions.intervention import Context, Intervention, intervention
from interventions.knockout import Knockout
from interventions.padding import PadDocument
from interventions.prefix import Prefix
from interventions.prefix_attention import PrefixAttention
from interventions.reweighting import Reweighting
from interventions.shuffling import Shuffle
from interventions.state_patching import StatePatching
from interventions.state_replacement import StateReplacement
from interventions.steering import Steering
from interventions.sublayer_removal import SublayerRemoval
from interventions.truncation import Truncate
from interventions.value_zeroing import ValueZeroing

__all__ = [
    "Context",
    "DecoderPrompt",
    "Intervention",
    "Knockout",
    "PadDocument",
    "Prefix",
    "PrefixAttention",
    "Reweighting",
    "Shuffle",
    "StatePatching",
    "StateReplacement",
    "Steering",
    "SublayerRemoval",
    "Truncate",
    "ValueZeroing",
    "intervention",
]
