"""A study with planted effects, as ``study.json`` has it: nobody trained anything."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from solo_invariance.results.study import StudyResult

FAMILIES = {"default": (0.45, 0.6), "ventral": (0.72, 0.25), "dorsal": (0.3, 0.75), "identity": (0.25, 0.35)}
"""How invariant each family is planted to be, to spatial and to appearance changes."""

CHANGES = {
    "invariance/rotation": "spatial",
    "invariance/resized_crop": "spatial",
    "invariance/shear": "spatial",
    "invariance/hue": "appearance",
    "invariance/blur": "appearance",
    "invariance/brightness": "appearance",
    "views/pose": "spatial",
    "views/light_hue": "appearance",
}
TASKS = {
    "shape": ("accuracy", 0.2, 0.1),
    "position": ("r2", -0.8, 0.3),
    "rotation": ("r2", -0.6, 0.1),
    "hue": ("r2", 0.1, -0.9),
}
"""The metric of each task, and how much it is planted to gain from either kind of invariance."""

ARMS: dict[str, dict[str, Any]] = {
    **{name: {"role": "trained", "family": name} for name in FAMILIES},
    "untrained": {"role": "untrained"},
    "default x3": {"role": "wide", "family": "default"},
    "D+V+O": {"role": "fusion", "members": ("default", "ventral", "dorsal")},
    "V+O": {"role": "fusion", "members": ("ventral", "dorsal")},
    "D+D+D": {"role": "ensemble", "members": ("default",) * 3},
    "V+V+V": {"role": "ensemble", "members": ("ventral",) * 3},
    "O+O+O": {"role": "ensemble", "members": ("dorsal",) * 3},
}


def made_up_study(seeds: Sequence[int] = (0, 1, 2, 3, 4), **changes: Any) -> StudyResult:
    """A study of so many seeds with claims that hold, that do not, and that nobody can tell."""
    numbers = {arm: dict(_quantities(arm, seeds)) for arm in ARMS}
    content = {
        "schema": 1,
        "kind": "study",
        "name": "planted",
        "says": "Made-up backbones with planted invariances, to see what a page makes of them.",
        "config": {"study": {"name": "planted"}},
        "versions": {"solo-invariance": "0.5.0", "torch": "2.4.0"},
        "seed": 0,
        "timings": {"total_seconds": 12000.0},
        "machine": {"device": "cpu", "cpu": "a processor", "threads": 2},
        "seeds": list(seeds),
        "arms": {
            name: {
                **arm,
                "num_features": 512 if arm["role"] in ("trained", "untrained") else 1536,
                "seeds": _seeds_of(name, seeds),
            }
            for name, arm in ARMS.items()
        },
        "quantities": {
            **{name: {"unit": "similarity", "kind": kind, "num_images": 512} for name, kind in CHANGES.items()},
            **{
                f"{of}/{task}": {"unit": metric, "num_images": 2000}
                for of in ("score", "projected")
                for task, (metric, _, _) in TASKS.items()
            },
        },
        "numbers": numbers,
        "claims": [_claim(numbers, seeds, **one) for one in CLAIMS],
        "hours": {"pretrain": 2.75, "measure": 0.25, "transfer": 0.5},
        **changes,
    }
    return StudyResult.from_content(content)


CLAIMS: list[dict[str, Any]] = [
    {
        "name": "ventral ignores space",
        "finding": "1a",
        "says": "Ventral is more invariant to spatial changes than backbones without spatial augmentations.",
        "of": ["invariance/spatial"],
        "arm": "ventral",
        "against": ["dorsal", "identity"],
        "smallest": 0.02,
    },
    {
        "name": "dorsal ignores appearance",
        "finding": "1a",
        "says": "Dorsal is more invariant to changes of appearance than backbones without such augmentations.",
        "of": ["invariance/appearance"],
        "arm": "dorsal",
        "against": ["ventral", "identity"],
        "smallest": 0.02,
    },
    {
        "name": "ventral ignores pose",
        "finding": "1b",
        "says": "Ventral is more invariant to real changes of pose.",
        "of": ["views/pose"],
        "arm": "ventral",
        "against": ["dorsal", "identity"],
        "smallest": 0.02,
    },
    {
        "name": "dorsal ignores light",
        "finding": "1b",
        "says": "Dorsal is more invariant to the hue of real light.",
        "of": ["views/light_hue"],
        "arm": "default",
        "against": ["dorsal"],
        "smallest": 0.02,
    },
    {
        "name": "synthetic tells real, hue",
        "finding": "1c",
        "says": "Who ignores hue ignores the hue of light.",
        "between": ["invariance/hue", "views/light_hue"],
        "expect": "positive",
        "smallest": 0.2,
    },
    {
        "name": "hue wants ventral",
        "finding": "2a",
        "says": "Hue is read better from ventral than from dorsal.",
        "of": ["score/hue"],
        "arm": "ventral",
        "against": ["dorsal"],
        "smallest": 0.02,
    },
    {
        "name": "position wants dorsal",
        "finding": "2a",
        "says": "Position is read better from dorsal than from ventral.",
        "of": ["score/position"],
        "arm": "dorsal",
        "against": ["ventral"],
        "smallest": 0.02,
    },
    {
        "name": "space costs position",
        "finding": "2b",
        "says": "Who ignores space reads position worse.",
        "between": ["invariance/spatial", "score/position"],
        "expect": "negative",
        "smallest": 0.2,
    },
    {
        "name": "fusion beats default",
        "finding": "3",
        "says": "The fusion of three families does better than default alone.",
        "of": ["score/shape", "score/hue"],
        "arm": "D+V+O",
        "against": ["default"],
        "smallest": 0.01,
    },
    {
        "name": "fusion beats x3",
        "finding": "3",
        "says": "The fusion does better than a default backbone three times as wide.",
        "of": ["score/hue"],
        "arm": "D+V+O",
        "against": ["default x3"],
        "smallest": 0.01,
    },
    {
        "name": "fusion beats ensembles",
        "finding": "3",
        "says": "The fusion of three families does better than ensembles of three seeds.",
        "of": ["projected/position"],
        "arm": "D+V+O",
        "against": ["O+O+O"],
        "smallest": 0.05,
    },
]


def members(name: str) -> list[str]:
    """The quantities that a name of a claim stands for."""
    prefix, kind = name.split("/")
    return (
        [name]
        if kind not in ("spatial", "appearance")
        else [one for one, of in CHANGES.items() if of == kind and one.startswith(prefix)]
    )


def _seeds_of(arm: str, seeds: Sequence[int]) -> list[tuple[int, ...]]:
    if ARMS[arm]["role"] == "ensemble":
        return list(combinations(seeds, 3))
    return [(seed,) for seed in (seeds[:3] if ARMS[arm]["role"] == "wide" else seeds)]


def _quantities(arm: str, seeds: Sequence[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    draw = np.random.default_rng(list(ARMS).index(arm))
    parts = [
        FAMILIES[one]
        for one in ARMS[arm].get("members", ()) or ([ARMS[arm]["family"]] if "family" in ARMS[arm] else [])
    ]
    spatial, appearance = np.mean(parts, axis=0) if parts else (0.15, 0.2)
    own = {seeds_of: draw.normal(0, 0.03, 2) for seeds_of in _seeds_of(arm, seeds)}

    def numbers(of: Mapping[tuple[int, ...], float]) -> list[dict[str, Any]]:
        return [
            {"seeds": list(key), "value": round(float(value), 5), "standard_error": 0.01} for key, value in of.items()
        ]

    for name, kind in CHANGES.items():
        shift = draw.normal(0, 0.05)
        yield (
            name,
            numbers(
                {
                    key: (spatial + one[0] if kind == "spatial" else appearance + one[1]) + shift + draw.normal(0, 0.02)
                    for key, one in own.items()
                }
            ),
        )
    best = [
        max(parts or [(spatial, appearance)], key=lambda part: part[0] * a + part[1] * b) for _, a, b in TASKS.values()
    ]
    for of, less in (("score", 0.0), ("projected", 0.05)):
        for (task, (_, a, b)), (s, p) in zip(TASKS.items(), best, strict=True):
            level = (0.75 if task == "shape" else 0.7) + a * s + b * p - less - (0.3 if arm == "untrained" else 0)
            yield (
                f"{of}/{task}",
                numbers({key: level + a * one[0] + b * one[1] + draw.normal(0, 0.015) for key, one in own.items()}),
            )


def _effects(
    numbers: Mapping[str, Any], seeds: Sequence[int], of: Sequence[str], arm: str, against: Sequence[str]
) -> dict[int, float]:
    def value(of_arm: str, seed: int) -> float:
        names = [name for one in of for name in members(one)]
        found = [number["value"] for name in names for number in numbers[of_arm][name] if seed in number["seeds"]]
        return float(np.mean(found)) if found else np.nan

    effects = {seed: value(arm, seed) - float(np.mean([value(one, seed) for one in against])) for seed in seeds}
    return {seed: one for seed, one in effects.items() if np.isfinite(one)}


def _rhos(numbers: Mapping[str, Any], seeds: Sequence[int], between: Sequence[str], sign: float) -> dict[int, float]:
    arms = [arm for arm, one in ARMS.items() if one["role"] in ("trained", "untrained")]

    def values(name: str, seed: int) -> list[float]:
        return [
            float(np.mean([n["value"] for one in members(name) for n in numbers[arm][one] if n["seeds"] == [seed]]))
            for arm in arms
        ]

    return {seed: sign * float(stats.spearmanr(*(values(one, seed) for one in between)).statistic) for seed in seeds}


def _over_seeds(effects: Mapping[int, float], level: float = 0.95) -> dict[str, Any]:
    values = list(effects.values())
    if not values:
        return {"effect": None, "seeds": []}
    mean, error = (
        float(np.mean(values)),
        float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0,
    )
    half = error * float(stats.t.ppf((1 + level) / 2, max(len(values) - 1, 1)))
    found: dict[str, Any] = {
        "effect": mean,
        "num_seeds": len(values),
        "seeds": [{"seed": seed, "effect": one} for seed, one in effects.items()],
    }
    if len(values) > 1:
        found["ci95"] = [mean - half, mean + half]
    return found


def _claim(numbers: Mapping[str, Any], seeds: Sequence[int], **claim: Any) -> dict[str, Any]:
    is_rank = "between" in claim
    sign = -1.0 if claim.get("expect") == "negative" else 1.0
    effects = (
        _rhos(numbers, seeds, claim["between"], sign)
        if is_rank
        else _effects(numbers, seeds, claim["of"], claim["arm"], claim["against"])
    )
    found = _over_seeds(effects)
    unit = (
        "rho"
        if is_rank
        else "similarity"
        if claim["of"][0].split("/")[0] in ("invariance", "views")
        else TASKS[claim["of"][0].split("/")[1]][0]
    )
    found |= {"unit": unit, "verdict": "undecided"}
    if not effects:
        return {**claim, **found, "why": "It was not measured by any seed."}
    found["images_ci95"] = [found["effect"] - 0.02, found["effect"] + 0.02]
    names = [] if is_rank else [name for one in claim["of"] for name in members(one)]
    if len(names) > 1:
        found["parts"] = [
            {
                "name": name,
                "unit": unit,
                "images_ci95": None,
                **_over_seeds(_effects(numbers, seeds, [name], claim["arm"], claim["against"])),
            }
            for name in names
        ]
    if len(effects) < 2:
        return {**claim, **found, "why": "There is one seed."}
    wide = _over_seeds(effects, 1 - 0.05 / len(CLAIMS))["ci95"]
    p = float(stats.ttest_1samp(list(effects.values()), 0).pvalue) if len(set(effects.values())) > 1 else 0.0
    verdict = "does not hold" if wide[1] < claim["smallest"] else "holds" if wide[0] > 0 else "undecided"
    return {**claim, **found, "holm_interval": wide, "p": p, "p_holm": min(1.0, p * len(CLAIMS)), "verdict": verdict}
