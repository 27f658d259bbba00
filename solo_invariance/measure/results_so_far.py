"""What a run has measured so far: in memory, or in a directory where a later run takes it up again."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solo_invariance.errors import UserError
from solo_invariance.measure.health import HEALTH_ARRAYS, Health, read_health, write_health
from solo_invariance.measure.loop.partial_results import PartialResultFiles, PartialResults
from solo_invariance.measure.loop.summary import Measured
from solo_invariance.measure.loop.whitened import WhitenedBackbone
from solo_invariance.measure.statistics.feature_statistics import Moments
from solo_invariance.results.files import (
    read_arrays,
    read_json,
    require_no_folders,
    write_arrays,
    write_json,
)
from solo_invariance.results.invariance import INVARIANCE_FILE, InvarianceResult, check_measured
from solo_invariance.results.run_directory import RunDirectory

_HINT = "; remove it, and the statistics are computed again"


class ResultsSoFar:
    """Results in memory.

    Args:
        layers: Names of the layers that have results.
    """

    def __init__(self, layers: Iterable[str]) -> None:
        self.layers = tuple(layers)
        self._partial = PartialResults()
        self._statistics: Mapping[str, np.ndarray] = {}
        self._summaries: dict[tuple[str, str], dict[str, Any]] = {}
        self._health: dict[str, dict[str, Health]] = {}

    def partial_results(self) -> PartialResults:
        """Return what was begun and is not finished."""
        return self._partial

    def is_done(self, name: str) -> bool:
        """Return whether a transform or a view set is finished, in all layers."""
        return all((layer, name) in self._summaries for layer in self.layers)

    @property
    def has_statistics(self) -> bool:
        """Whether the statistics on the reference images are there."""
        return bool(self._statistics)

    def moments(self) -> dict[str, Moments]:
        """Return mean and covariance of each layer."""
        arrays = self._read_statistics()
        return {
            layer: Moments(
                torch.from_numpy(arrays[f"{layer}|mean"]),
                torch.from_numpy(arrays[f"{layer}|covariance"]),
                int(arrays["count"]),
                torch.from_numpy(arrays[f"{layer}|sample"]) if f"{layer}|sample" in arrays else None,
            )
            for layer in self.layers
        }

    def reference(self, layer: str) -> dict[str, Any]:
        """Return what a layer's result says of the reference images."""
        arrays = self._read_statistics()
        return {
            "num_images": int(arrays["count"]),
            "num_files": int(arrays["num_files"]),
            **{key: arrays[f"{layer}|{key}"].item() for key in ("shrinkage", "estimator")},
            **{key: arrays[key].item() for key in ("fingerprint",) if key in arrays},
            "unreadable": arrays["unreadable"].tolist(),
        }

    def keep_statistics(self, whitened: WhitenedBackbone) -> None:
        """Keep the statistics on the reference images."""
        self._statistics = _statistics_of(whitened)

    def health(self, layer: str) -> dict[str, Health] | None:
        """Return the metrics of a layer's features, by name; None where they were not computed yet."""
        return self._health.get(layer)

    def keep_health(self, layer: str, found: Mapping[str, Health]) -> None:
        """Keep the metrics of a layer's features."""
        self._health[layer] = dict(found)

    def keep(self, layer: str, name: str, measured: Measured) -> None:
        """Keep what a transform or a view set gave."""
        self._summaries[layer, name] = measured.summary

    def summary(self, layer: str, name: str) -> dict[str, Any]:
        """Return what a transform or a view set gave."""
        return self._summaries[layer, name]

    def seconds_before(self, layer: str) -> float | None:
        """Return how long the run took that finished a layer; None where it is not finished."""
        return None

    def write(self, layer: str, result: InvarianceResult) -> None:
        """Write a layer's result, where it has a place."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out."""
        yield

    def _read_statistics(self) -> Mapping[str, np.ndarray]:
        return self._statistics


class ResultFiles(ResultsSoFar):
    """Results in a directory, whose files are whole when they appear.

    Args:
        layers: Names of the layers that have results, each of which has a folder of its own.
        directory: The run's.
    """

    def __init__(self, layers: Iterable[str], directory: RunDirectory) -> None:
        super().__init__(layers)
        self._directory = directory
        self._partial = PartialResultFiles(directory.path / "parts")
        self._statistics_path = directory.path / "parts" / "moments.npz"

    def is_done(self, name: str) -> bool:
        """Return whether a transform or a view set is finished, in all layers."""
        return all(self._summary_path(layer, name).is_file() for layer in self.layers)

    @property
    def has_statistics(self) -> bool:
        """Whether the statistics on the reference images are there."""
        return self._statistics_path.is_file()

    def keep_statistics(self, whitened: WhitenedBackbone) -> None:
        """Keep the statistics on the reference images: the first file, by which the directory becomes the run's."""
        self._directory.claim()
        write_arrays(self._statistics_path, _statistics_of(whitened), summed=True)

    def health(self, layer: str) -> dict[str, Health] | None:
        """Return the metrics of a layer's features, by name; None where they were not computed yet."""
        path = self._directory.path / layer / HEALTH_ARRAYS
        return read_health(path) if path.is_file() else None

    def keep_health(self, layer: str, found: Mapping[str, Health]) -> None:
        """Keep the metrics of a layer's features."""
        write_health(self._directory.path / layer / HEALTH_ARRAYS, found)

    def keep(self, layer: str, name: str, measured: Measured) -> None:
        """Keep what a transform or a view set gave."""
        # The summary comes last: where it is, the arrays are too.
        write_arrays(self._directory.path / layer / f"{name}.npz", measured.arrays)
        write_json(self._summary_path(layer, name), measured.summary)

    def summary(self, layer: str, name: str) -> dict[str, Any]:
        """Return what a transform or a view set gave."""
        path = self._summary_path(layer, name)
        content = read_json(path)
        check_measured(content, path)
        return content

    def seconds_before(self, layer: str) -> float | None:
        """Return how long the run took that finished a layer; None where it is not finished."""
        path = self._directory.path / layer / INVARIANCE_FILE
        try:
            return InvarianceResult.read(path).timings.get("total_seconds") if path.is_file() else None
        except UserError:  # it is written again
            return None

    def write(self, layer: str, result: InvarianceResult) -> None:
        """Write a layer's result."""
        result.write(self._directory.path / layer / INVARIANCE_FILE)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out."""
        with self._directory.locked():
            for layer in self.layers:
                require_no_folders(self._directory.path / layer)
                require_no_folders(self._directory.path / layer / "parts")
            yield

    def _read_statistics(self) -> Mapping[str, np.ndarray]:
        arrays = read_arrays(self._statistics_path, hint=_HINT, summed=True)
        expected = ["count", "num_files", "unreadable"]
        for layer in self.layers:
            expected += [f"{layer}|{key}" for key in ("mean", "covariance", "shrinkage", "estimator")]
        if missing := [name for name in expected if name not in arrays]:
            raise UserError(f"{self._statistics_path}: {missing[0]!r} is missing in it{_HINT}")
        return arrays

    def _summary_path(self, layer: str, name: str) -> Path:
        return self._directory.path / layer / "parts" / f"{name}.json"


def _statistics_of(whitened: WhitenedBackbone) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {
        "unreadable": np.asarray(whitened.unreadable, dtype=str),
        "num_files": np.asarray(whitened.num_files),
    }
    if whitened.reference_fingerprint is not None:
        arrays["fingerprint"] = np.asarray(whitened.reference_fingerprint)
    for layer, moments in whitened.moments.items():
        if moments.sample is not None:
            arrays[f"{layer}|sample"] = moments.sample.cpu().numpy()
        shrinkage = whitened.whitenings[layer].shrinkage
        arrays |= {
            "count": np.asarray(moments.num_images),
            f"{layer}|mean": moments.mean.cpu().numpy(),
            f"{layer}|covariance": moments.covariance.cpu().numpy(),
            f"{layer}|shrinkage": np.asarray(shrinkage),
            f"{layer}|estimator": np.asarray("ridge" if shrinkage else "sample"),
        }
    return arrays
