"""Studies of known effects: what arms have on average, how seeds of them vary, and what claims say of them."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from solo_invariance.config.claims import Claim, Role
from solo_invariance.study import Instance, Table

TRANSFORMS = {"invariance/hue": "appearance", "invariance/blur": "appearance", "invariance/shift": "spatial"}
VIEWS = {"views/light": "appearance", "views/pose": "spatial"}
SCORES = ("score/shape", "score/hue", "score/place", "score/count")
QUANTITIES = (*TRANSFORMS, *VIEWS, *SCORES)
TRAINED = ("default", "ventral", "dorsal", "identity")
ROLES: Mapping[str, Role] = {
    **dict.fromkeys(TRAINED, "trained"),
    "untrained": "untrained",
    "default x3": "wide",
    "D+V+O": "fusion",
    "D+D+D": "ensemble",
    "O+O+O": "ensemble",
}
ENSEMBLES = {"D+D+D": "default", "O+O+O": "dorsal"}


def simulated_table(
    generator: np.random.Generator,
    seeds: Sequence[int],
    means: Mapping[str, Mapping[str, float]],
    shared: float = 0.5,
    arms: Sequence[str] = tuple(ROLES),
) -> Table:
    """Return a study with seed noise of deviation 1, a part of which all arms of a seed share.

    What an ensemble has is the mean of what its seeds have, and half the square of their deviation, as of scores that
    saturate, so that it is no linear function of seeds.
    """
    common = generator.normal(size=(len(seeds), len(QUANTITIES)))
    noise = {arm: generator.normal(size=(len(seeds), len(QUANTITIES))) for arm in arms}
    values = {
        arm: np.array([means.get(arm, {}).get(one, 0.0) for one in QUANTITIES])
        + np.sqrt(shared) * common
        + np.sqrt(1 - shared) * noise[arm]
        for arm in arms
    }
    instances, rows = [], []
    for arm in arms:
        for some in combinations(range(len(seeds)), 3) if arm in ENSEMBLES else [(one,) for one in range(len(seeds))]:
            instances.append(Instance(arm, tuple(seeds[one] for one in some)))
            own = values[arm][list(some)]
            rows.append(own.mean(axis=0) + (own.var(axis=0) - (1 if len(some) > 1 else 0) * (2 / 3)) * 0.5)
    return Table(tuple(instances), QUANTITIES, np.array(rows), roles=ROLES, kinds={**TRANSFORMS, **VIEWS})


def claim(name: str, smallest: float = 1.0, **keys: object) -> Claim:
    """Return a claim with what all have."""
    found: dict[str, object] = {"finding": "1a", "says": "It does.", "smallest": smallest, **keys}
    for key in ("of", "against", "between", "over"):
        if isinstance(found.get(key), str):
            found[key] = (found[key],)
    return Claim(name=name, **found)  # type: ignore[arg-type]


CLAIMS = (
    claim("kind", of="invariance/appearance", arm="ventral", against=("dorsal", "identity")),
    claim("change", of="invariance/hue", arm="ventral", against="dorsal"),
    claim("views", of="views/light", arm="ventral", against="default"),
    claim("task", of="score/hue", arm="ventral", against="dorsal"),
    claim("best", of="score/shape", arm="D+V+O", against="best single"),
    claim("wide", of="score/shape", arm="D+V+O", against="default x3"),
    claim("ensemble", of="score/shape", arm="D+V+O", against="D+D+D"),
    claim("of ensembles", of="score/place", arm="O+O+O", against="D+D+D"),
    claim("mean of tasks", of=SCORES, arm="D+V+O", against=("D+D+D", "O+O+O")),
    claim("rank", of="rank/score", arm="D+V+O", against="best single"),
    claim("rank of one", of="rank/score", arm="D+V+O", against="default"),
    claim("carries over", between=("invariance/hue", "views/light"), smallest=0.2),
    claim("is wanted", between=("invariance/shift", "score/place"), expect="negative", smallest=0.2),
)
