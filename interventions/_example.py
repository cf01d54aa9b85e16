"""A file to copy: without the underscore in its name, `budgetlens list interventions` shows what it defines."""

from dataclasses import dataclass, replace

from budgetlens import Context, Intervention, Segment, Trial, intervention


@intervention("hint")  # the factor's name in designs: --factor hint=none,It may help:2
@dataclass(frozen=True)  # frozen: an intervention has no state
class Hint(Intervention):
    """Write a hint in front of the decoder's prompt."""  # the first line stands in the list

    sample_levels = ("", "It may help:2")  # what the conformance suite tries; each must have an effect
    identity_levels = ("none",)  # what must change nothing

    text: str = "Hint"  # the fields in order are the level, joined by colons: hint=TEXT:TIMES
    times: int = 1

    def apply(self, trial: Trial, context: Context) -> Trial:
        """A new trial; what is random comes from context.generator("hint") and from nowhere else."""
        if self.text == "none":
            return trial
        hint = Segment("prompt", text=" ".join([self.text] * self.times))
        return replace(trial, decoder=(hint, *trial.decoder))
