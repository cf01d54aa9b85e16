"""Seeded tables of the shapes that analyses write, for the tests of the figures."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

ENCODER = ("bos", "prefix", "separator", "document", "eos")
DECODER = ("start", "prompt", "answer")
CELLS = (
    *(
        f"prefix={prefix}|hidden={hidden}|prompt={prompt}"
        for prefix, hidden, prompt in itertools.product(
            ("none", "oracle"), ("prefix+separator", "bos+prefix+separator"), ("none", "random", "query")
        )
    ),
    "prefix=oracle|hidden=prefix+separator|prompt=shifted",
)


def factors(cell: str) -> dict[str, str]:
    """Factor levels of a cell."""
    return dict(part.split("=") for part in cell.split("|"))


def shares_table(
    cells: tuple[str, ...] = CELLS,
    layers: int = 34,
    block: str = "merged",
    stack: str = "decoder",
    seed: int = 1,
) -> pd.DataFrame:
    """Shares that sum to 1 over the roles of every softmax."""
    generator = np.random.default_rng(seed)
    blocks = {"merged": ENCODER + DECODER} if block == "merged" else {"self": DECODER, "cross": ENCODER}
    if stack == "encoder":
        blocks = {"self": ENCODER}
    rows = []
    for cell, (name, roles), layer in itertools.product(cells, blocks.items(), range(layers)):
        weight = np.array([1.5 if role == "document" else 0.6 for role in roles]) * (
            1 + 3 * generator.random(len(roles))
        )
        weight *= np.array([2 + np.sin(layer / 3) if role in ("bos", "start") else 1.0 for role in roles])
        hidden = {
            "prefix": "prefix" in factors(cell)["hidden"] or factors(cell)["prefix"] == "none",
            "separator": "prefix" in factors(cell)["hidden"] or factors(cell)["prefix"] == "none",
            "bos": "bos" in factors(cell)["hidden"],
            "prompt": factors(cell)["prompt"] in ("none", "shifted"),
        }
        weight *= np.array([0.0 if hidden.get(role, False) else 1.0 for role in roles])
        share = weight / weight.sum()
        for role, mean in zip(roles, share, strict=True):
            half = 0.02 * np.sqrt(mean * (1 - mean))
            rows.append(
                {
                    "cell": cell,
                    "stack": stack,
                    "block": name,
                    "layer": layer,
                    "role": role,
                    "n": 600,
                    "mean": mean,
                }
                | {"low": max(0.0, mean - half), "high": min(1.0, mean + half)}
                | factors(cell)
            )
    return pd.DataFrame(rows)


def effects_table(seed: int = 2) -> pd.DataFrame:
    """Two families of contrasts with all verdicts."""
    generator = np.random.default_rng(seed)
    rows = []
    words = ("helps", "hurts", "undecided", "no effect within ±0.05")
    for family, count in (("prefix, by prompt", 6), ("prompt, by prefix", 5), ("interaction", 2)):
        for i in range(count):
            verdict = words[(i + count) % 4]
            mean = {"helps": 0.45, "hurts": -0.3, "undecided": 0.09}.get(verdict, 0.004) * (
                0.6 + generator.random()
            )
            half = {"undecided": 0.16}.get(verdict, 0.03) * (0.6 + generator.random())
            rows.append(
                {
                    "contrast": f"prefix oracle − none (hidden bos, prompt {i})",
                    "baseline": CELLS[i],
                    "treatment": CELLS[i + 6],
                    "family": family,
                    "n": 600,
                    "mean_difference": mean,
                    "low": mean - half,
                    "high": mean + half * 1.2,
                    "d_z": mean / 0.9,
                    "win_percent": 50 + 30 * mean,
                    "p_sign_flip": 0.0002 if abs(mean) > half else 0.31,
                    "p_holm": 0.0004 if abs(mean) > half else 0.62,
                    "kind": {"helps": "positive", "hurts": "negative", "undecided": "undecided"}.get(
                        verdict, "none"
                    ),
                    "verdict": verdict,
                }
            )
    return pd.DataFrame(rows)


def cell_means_table(seed: int = 3) -> pd.DataFrame:
    """Mean NLL of every cell."""
    generator = np.random.default_rng(seed)
    rows = []
    for cell in CELLS[:12]:
        levels = factors(cell)
        mean = 2.6 - {"none": 0.0, "random": 0.15, "query": 0.9}[levels["prompt"]]
        mean -= {"none": 0.7, "random": 0.5, "query": 0.05}[levels["prompt"]] * (levels["prefix"] == "oracle")
        mean += 0.05 * generator.random() + (0.2 if "bos" in levels["hidden"] else 0.0)
        rows.append({"cell": cell, **levels, "n": 600, "mean": mean, "low": mean - 0.11, "high": mean + 0.13})
    return pd.DataFrame(rows)


CONTRASTS = tuple(f"{CELLS[i]} → {CELLS[i + 6]}" for i in range(6))


def differences_table(
    layers: int = 34, contrasts: tuple[str, ...] = CONTRASTS, seed: int = 4
) -> pd.DataFrame:
    """Differences of shares with simultaneous bands."""
    generator = np.random.default_rng(seed)
    rows = []
    for contrast, role in itertools.product(contrasts, ENCODER + DECODER):
        size = {"document": 0.06, "bos": -0.05, "prompt": 0.02, "answer": -0.03}.get(role, 0.005)
        for layer in range(layers):
            mean = size * np.sin(layer / 5) + 0.006 * generator.standard_normal()
            half = 0.008 + 0.01 * generator.random()
            rows.append(
                {
                    "contrast": contrast,
                    "family": "prefix",
                    "stack": "decoder",
                    "block": "merged",
                    "layer": layer,
                }
                | {"role": role, "n": 600, "mean": mean, "standard_error": half / 3, "band_low": mean - half}
                | {"band_high": mean + half, "p": 0.01, "p_simultaneous": 0.03, "reason": ""}
            )
    return pd.DataFrame(rows)


def heads_table(by: str = "cell", layers: int = 34, heads: int = 8, seed: int = 5) -> pd.DataFrame:
    """A share, or a difference, for every layer and head."""
    generator = np.random.default_rng(seed)
    rows = []
    for name, role in itertools.product(CELLS[:6] if by == "cell" else CONTRASTS[:3], ("bos", "document")):
        values = (
            generator.beta(0.6, 3, (layers, heads))
            if by == "cell"
            else 0.05 * generator.standard_t(3, (layers, heads))
        )
        for layer, head in itertools.product(range(layers), range(heads)):
            mean = values[layer, head]
            row = {
                by: name,
                "stack": "decoder",
                "block": "merged",
                "layer": layer,
                "head": head,
                "role": role,
            }
            row |= {"n": 600, "mean": mean, "standard_error": 0.01}
            if by == "contrast":
                row |= {"p": 0.001, "q": 0.01 if abs(mean) > 0.12 else 0.4, "discovered": abs(mean) > 0.12}
            rows.append(row)
    return pd.DataFrame(rows)


def decomposition_table() -> pd.DataFrame:
    """Two effects with a length and a semantic part; the second total's interval holds 0."""
    rows = []
    for hidden, total, low, high in (
        ("prefix+separator", 0.53, 0.45, 0.62),
        ("bos+prefix+separator", 0.03, -0.05, 0.1),
    ):
        for part, mean in (("total", total), ("length", 1.13 * total), ("semantic", -0.13 * total)):
            whole = part == "total"
            withheld = hidden.startswith("bos") and not whole
            rows.append(
                {
                    "contrast": f"prompt none → query (hidden={hidden})",
                    "part": part,
                    "n": 600,
                    "mean_difference": mean,
                    "low": mean - (total - low),
                    "high": mean + (high - total),
                    "share": np.nan if withheld else mean / total,
                    "share_low": np.nan if withheld or whole else mean / total - 0.1,
                    "share_high": np.nan if withheld or whole else mean / total + 0.12,
                    "reason": "withheld: the denominator's interval holds 0" if withheld else "",
                }
            )
    return pd.DataFrame(rows)


def entropies_table(layers: int = 34, cells: tuple[str, ...] = CELLS, seed: int = 6) -> pd.DataFrame:
    """Mass and entropy of the self and the cross part by layer."""
    generator = np.random.default_rng(seed)
    rows = []
    for cell, layer in itertools.product(cells, range(layers)):
        cross = float(
            np.clip(0.35 + 0.2 * np.sin(layer / 4) + 0.05 * generator.standard_normal(), 0.02, 0.98)
        )
        for part, mass in (("self", 1 - cross), ("cross", cross)):
            entropy = 1 + 2.4 * mass + 0.2 * generator.standard_normal() + (part == "cross")
            rows.append(
                {"cell": cell, "stack": "decoder", "block": "merged", "layer": layer, "part": part, "n": 600}
                | {"mass": mass, "entropy": entropy, "entropy_sd": 0.3, "reason": ""}
            )
    return pd.DataFrame(rows)


def examples_table(count: int = 300, seed: int = 7) -> pd.DataFrame:
    """NLL of every example in three cells, with its text."""
    generator = np.random.default_rng(seed)
    base = generator.gamma(3, 0.8, count)
    rows = []
    for i, cell in itertools.product(range(count), CELLS[:3]):
        shift = {CELLS[0]: 0.0, CELLS[1]: -0.1, CELLS[2]: -0.5}[cell]
        nll = max(0.02, base[i] + shift * generator.gamma(2, 0.5) + 0.1 * generator.standard_normal())
        text = {
            "query": f"What is the colour of the {i}th lamp in the harbour?",
            "answer": f"It is shade {i}.",
        }
        rows.append({"example": i, "cell": cell, "nll": nll, **text})
    return pd.DataFrame(rows)


def lengths_table() -> pd.DataFrame:
    """Effects by document length, for two prompts and three prefixes."""
    rows = []
    for prompt, prefix, length in itertools.product(
        ("none", "query"), ("oracle", "keywords", "random"), (96, 256, 512, 1024, 2048, 4096)
    ):
        mean = {"oracle": 0.6, "keywords": 0.3, "random": 0.2}[prefix] * (96 / length) ** 0.25
        mean *= 0.3 if prompt == "query" else 1.0
        row = {"prompt": prompt, "prefix": prefix, "length": length, "n": 500}
        rows.append(row | {"mean": mean, "low": mean - 0.05, "high": mean + 0.06})
    return pd.DataFrame(rows)


#: What is drawn of it, in which order.
CHOSEN = {
    "quantity": "cost",
    "unit": "nats",
    "lines": ["norms", "random tokens"],
    "facets": ["removing", "keeping"],
}


def chosen_tokens_table() -> pd.DataFrame:
    """What choosing tokens costs, by two measures, removed and kept."""
    rows = []
    for mode, measure, percent in itertools.product(
        ("removing", "keeping"), ("norms", "random tokens"), (1, 5, 10, 20, 50)
    ):
        mean = {"norms": 0.9, "random tokens": 0.2}[measure] * (percent / 50) ** 0.5
        mean = mean if mode == "removing" else 1.1 - mean
        row = {"mode": mode, "measure": measure, "percent": percent, "n": 500}
        rows.append(row | {"mean": mean, "low": mean - 0.05, "high": mean + 0.06})
    return pd.DataFrame(rows)


def keywords_table() -> pd.DataFrame:
    """Effects by number of keywords."""
    rows = [
        {
            "keywords": k,
            "n": 500,
            "mean": 0.1 + 0.05 * np.log2(k),
            "low": 0.06 + 0.05 * np.log2(k),
            "high": 0.15 + 0.05 * np.log2(k),
        }
        for k in (1, 3, 5, 10, 20)
    ]
    return pd.DataFrame(rows)


def references_table() -> pd.DataFrame:
    """Prefixes without a count."""
    return pd.DataFrame(
        {"name": ["oracle", "random"], "mean": [0.42, 0.07], "low": [0.38, 0.04], "high": [0.46, 0.1]}
    )


def sinks_table(layers: int = 34, seed: int = 8) -> pd.DataFrame:
    """Shares with the sink visible, predicted and measured with it hidden."""
    generator = np.random.default_rng(seed)
    rows = []
    for cell, role in itertools.product(CELLS[3:5], ("document", "eos", "start", "answer")):
        for layer in range(layers):
            sink = 0.2 + 0.15 * np.sin(layer / 5)
            visible = {"document": 0.3, "eos": 0.06, "start": 0.25, "answer": 0.15}[role] * (
                1 + 0.2 * generator.random()
            )
            predicted = visible / (1 - sink)
            mean = predicted * (1 + 0.05 * generator.standard_normal())
            row = {
                "cell": cell,
                "stack": "decoder",
                "block": "merged",
                "layer": layer,
                "role": role,
                "n": 600,
            }
            row |= {
                "visible": visible,
                "mean": mean,
                "low": mean - 0.01,
                "high": mean + 0.01,
                "predicted": predicted,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def compared_table() -> pd.DataFrame:
    """Published beside measured figures of three quantities."""
    rows = []
    for quantity, unit, baseline, treatment, layer, part, published, measured, half, agreement in (
        ("mean NLL", "nats per answer token", CELLS[0], "", np.nan, "", 2.554, 2.53, 0.12, "agrees"),
        ("mean NLL", "nats per answer token", CELLS[2], "", np.nan, "", 1.81, 1.7, 0.15, "compatible"),
        (
            "mean difference",
            "nats per answer token",
            CELLS[0],
            CELLS[6],
            np.nan,
            "",
            0.375,
            0.2,
            0.06,
            "differs",
        ),
        ("attention share", "share", CELLS[0], "", 33, "cross total", 0.37, 0.355, 0.02, "agrees"),
        ("attention share", "share", CELLS[6], "", 33, "cross total", 0.13, np.nan, np.nan, "not measured"),
    ):
        rows.append(
            {
                "quantity": quantity,
                "baseline": baseline,
                "treatment": treatment,
                "layer": layer,
                "part": part,
                "unit": unit,
            }
            | {
                "n": 600,
                "published": published,
                "measured": measured,
                "low": measured - half,
                "high": measured + half,
            }
            | {"agreement": agreement, "reason": "" if measured == measured else "layer not in the run"}
        )
    return pd.DataFrame(rows)


def tokens_table(cells: int = 2, document: int = 90, seed: int = 9) -> pd.DataFrame:
    """Attention of six answer rows in two layers and two heads, token by token, merged."""
    generator = np.random.default_rng(seed)
    words = [
        "the",
        "lamp",
        "in",
        "the",
        "harbour",
        "of",
        "Orvane",
        "is",
        "painted",
        "violet",
        ",",
        "they",
        "say",
        ".",
    ]
    rows = []
    for cell in CELLS[6 : 6 + cells]:
        keys = [
            ("<bos>", "bos"),
            *[(word, "prefix") for word in ("What", " colour", " is", " the", " lamp", "?")],
        ]
        keys += [("\n", "separator"), *[(f" {words[i % len(words)]}", "document") for i in range(document)]]
        keys += [
            ("<eos>", "eos"),
            ("<start>", "start"),
            ("What", "prompt"),
            (" colour", "prompt"),
            ("?", "prompt"),
        ]
        answer = ["It", " is", " deep", " violet", ".", "<end>"]
        for layer, head, row in itertools.product((5, 20), (0, 3), range(len(answer))):
            seen = [*keys, *[(word, "answer") for word in answer[:row]]]
            weight = generator.gamma(0.3, 1, len(seen)) * [
                4.0 if role in ("bos", "start") else 1.0 for _, role in seen
            ]
            share = weight / weight.sum()
            for key, ((token, role), value) in enumerate(zip(seen, share, strict=True)):
                rows.append(
                    {
                        "cell": cell,
                        "block": "merged",
                        "layer": layer,
                        "head": head,
                        "row": row,
                        "row_token": answer[row],
                    }
                    | {"key": key, "key_token": token, "role": role, "share": value}
                )
    return pd.DataFrame(rows)
