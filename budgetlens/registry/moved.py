"""Where the modules of budgetlens 0.1 are now: an import by an old name ends in one sentence that says the new one.

The engine needs nothing of this: the packages `probes`, `interventions` and `analyses`, in which the old names were,
call on it, and a later version drops it together with those calls.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType

_SINCE = "since budgetlens 0.2"

#: Old packages and what they are now; their modules kept their names, but for those under RENAMED_WITHIN.
PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        **{
            f"analyses.{name}": f"budgetlens.{name}"
            for name in ["comparison", "corpora", "explorer", "reference", "report", "statistics", "tables"]
        },
        "analyses.commands": "budgetlens.command",
        "analyses.designs": "budgetlens.design",
        "analyses.plans": "analyses.studies",
        "analyses.running": "budgetlens.runs",
        "analyses.storage": "budgetlens.runs",
    }
)

#: Modules of the old packages that went elsewhere than the others, or are called otherwise.
RENAMED_WITHIN: Mapping[str, str] = MappingProxyType(
    {
        "analyses.designs.options": "budgetlens.command.design_options",
        "analyses.designs.edit_words": "budgetlens.model.edit_words",
        "analyses.tables.attention_presentation": "budgetlens.tables.probe_presentation",
        "analyses.report.texts": "budgetlens.runs.texts",
        "analyses.report.examples": "budgetlens.report.cells",
        "analyses.running.run_request": "budgetlens.runs.request",
        "analyses.running.runs": "budgetlens.runs.running",
        "analyses.running.token_attention": "budgetlens.model.token_attention",
        "analyses.explorer.budgets_view": "budgetlens.explorer.attention_view",
        "analyses.plans.sweep_tables": "budgetlens.tables.sweeps",
        "analyses.storage.run_directory": "budgetlens.runs.storage",
    }
)

#: Where modules went that kept their own name: from, to, which.
_KEPT_NAMES = (
    (
        "probes",
        "budgetlens.model",
        "attention batching capture contract decoder_inputs families observation roles tokenization "
        "trials visitor",
    ),
    ("probes", "budgetlens.registry", "parameters"),
    ("interventions", "budgetlens.design", "intervention"),
    ("interventions", "interventions.levels", "donors edges layer_windows"),
    (
        "interventions",
        "interventions.texts",
        "common_words keywords neutral prefix_sources sentences stop_words",
    ),
    ("analyses", "budgetlens.design", "custom"),
    ("analyses", "budgetlens.statistics", "effects"),
    ("analyses", "budgetlens.command", "finishing"),
)

#: Old modules that were no packages, and the modules that hold what they held.
MODULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{f"{old}.{name}": (f"{new}.{name}",) for old, new, names in _KEPT_NAMES for name in names.split()},
        "analyses.analysis": (
            "budgetlens.design.analysis",
            "budgetlens.design.plan",
            "budgetlens.design.catalogue",
        ),
        "analyses.command": ("budgetlens.command.main",),
        "probes.edits": ("budgetlens.model.edits", "budgetlens.model.trials"),
        "probes.models": ("budgetlens.model.loading", "budgetlens.model.loaded"),
        "probes.registry": ("budgetlens.registry.names", "budgetlens.registry.discovery"),
        "probes.states": ("budgetlens.model.states", "budgetlens.model.trials"),
    }
)

#: Names that packages which are still there had, and the modules that hold them now.
NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "interventions": {
            "Context": "budgetlens.design.intervention",
            "DecoderPrompt": "interventions.decoder_prompt",
            "Intervention": "budgetlens.design.intervention",
            "Knockout": "interventions.knockout",
            "PadDocument": "interventions.padding",
            "Prefix": "interventions.prefix",
            "PrefixAttention": "interventions.prefix_attention",
            "Reweighting": "interventions.reweighting",
            "Shuffle": "interventions.shuffling",
            "StatePatching": "interventions.state_patching",
            "StateReplacement": "interventions.state_replacement",
            "Steering": "interventions.steering",
            "SublayerRemoval": "interventions.sublayer_removal",
            "Truncate": "interventions.truncation",
            "ValueZeroing": "interventions.value_zeroing",
        },
        # Once a module, now a package.
        "interventions.levels": {
            **dict.fromkeys(
                ["at_least", "known_name", "role_set", "whole_number"], "interventions.levels.values"
            ),
            "split_draw": "budgetlens.registry.parameters",
        },
    }
)


def module_sentence(old: str) -> str | None:
    """What an import of the old module or package ``old`` is told; None where it is not one that moved.

    Only what stood directly in one of the folders is told: Python asks for a package before it asks for its modules.
    """
    if old in PACKAGES:
        new = PACKAGES[old]
        others = [f"{name} is {now}" for name, now in RENAMED_WITHIN.items() if name.startswith(f"{old}.")]
        but = f", but {' and '.join(others)}" if others else ""
        return f"{old} is now {new}{but} ({_SINCE}): write 'from {new}.… import …'"
    if old in MODULES:
        modules = MODULES[old]
        written = " or ".join(f"'from {module} import …'" for module in modules)
        return f"{old} is now {' and '.join(modules)} ({_SINCE}): write {written}"
    return None


def missing_name(package: str, name: str) -> ImportError | AttributeError:
    """What the ``__getattr__`` of a package raises: ImportError with a sentence for a name that it once had.

    Python's own AttributeError for any other name. An AttributeError would not do for the old ones: `from … import …`
    replaces it by a message of its own, while it passes an ImportError on as it is.
    """
    module = NAMES.get(package, {}).get(name)
    if module is None:
        return AttributeError(f"module {package!r} has no attribute {name!r}")
    return ImportError(
        f"{package}.{name} is now {module}.{name} ({_SINCE}): write 'from {module} import {name}'"
    )


class MovedModules:
    """A finder that finds nothing: it raises for old names what they are called now."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for a name that is not in the table, so that Python's own error follows.

        Raises:
            ModuleNotFoundError: an old name; the message says the new one.
        """
        sentence = module_sentence(fullname)
        package = fullname.rpartition(".")[0]
        # A checkout that was brought up to date keeps the folders of old packages, with nothing but __pycache__ in
        # them. Python takes such a bare folder for a package, and looks for the modules in it.
        if package in PACKAGES and getattr(sys.modules.get(package), "__file__", None) is None:
            sentence = module_sentence(package)
        if sentence is not None:
            # Without `name=`: `from probes import trials` swallows an error that carries the name of what it looks for.
            raise ModuleNotFoundError(sentence)
        return None


def tell_of_moved_modules() -> None:
    """Have Python ask MovedModules for what no other finder has found; asking for it again changes nothing.

    Imports can be answered in no other way than through this list of Python's, which is global; last in it, the finder
    is asked only for what is not there, so that a file of one's own under an old name is simply imported.
    """
    if MovedModules not in sys.meta_path:
        sys.meta_path.append(MovedModules)
