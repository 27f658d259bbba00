"""What a result file says: ``invariance.json`` and ``transfer.json`` as checked, immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solo_invariance.errors import UserError
from solo_invariance.results.json_node import JsonNode, read_json

SCHEMA = 1
INVARIANCE_FILE = "invariance.json"
TRANSFER_FILE = "transfer.json"


@dataclass(frozen=True)
class Estimate:
    """A mean with the two ends of its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Backbone:
    """The network that was measured, and the checkpoint that it came from, if any."""

    name: str
    checkpoint: str | None
    sha256: str | None
    num_features: int


@dataclass(frozen=True)
class TransformResult:
    """Invariance to one synthetic transform: averages over its parameters, and one similarity per parameter.

    ``further`` has the other metrics that were asked for, by name.

    ``parameters`` has one tuple per step of the grid, as long as the transform has arguments; ``identity`` is the step
    that changes nothing, ``None`` if there is none.
    """

    kind: str
    unit: str
    parameters: tuple[tuple[float, ...], ...]
    identity: int | None
    similarity: Estimate
    curve: tuple[float, ...]
    distance: Estimate
    similarity_without_identity: Estimate | None
    further: Mapping[str, Estimate]


@dataclass(frozen=True)
class ViewResult:
    """Invariance over one set of real views: ``num_groups`` things, each seen ``num_views`` times.

    ``further`` has the other metrics that were asked for, by name.
    """

    kind: str
    similarity: Estimate
    distance: Estimate
    num_groups: int
    num_views: int
    further: Mapping[str, Estimate]


@dataclass(frozen=True)
class Result:
    """What both kinds of file share: where the numbers come from."""

    file: Path
    label: str
    backbone: Backbone
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    timings: Mapping[str, float]


@dataclass(frozen=True)
class InvarianceResult(Result):
    """One ``invariance.json``."""

    protocol: str
    num_images: int
    k: int
    transforms: Mapping[str, TransformResult]
    views: Mapping[str, ViewResult]


@dataclass(frozen=True)
class TransferResult(Result):
    """One ``transfer.json``: the test score of a probe on one task; a larger score is better."""

    task: str
    metric: str
    score: Estimate
    penalty: float | None
    folds: int
    probe: str
    num_train: int
    num_test: int
    protocol: str | None
    test_images: str | None


def read_result(file: Path) -> InvarianceResult | TransferResult:
    """Read and check one result file; which kind it is, its name says.

    Raises:
        UserError: The file is broken, has another schema, or a value is missing, of the wrong type or not finite.
    """
    document = read_json(file)
    kind = "invariance" if file.name == INVARIANCE_FILE else "transfer"
    schema = document.mapping().get("schema")
    if schema != SCHEMA:
        raise UserError(f"{file}: expected schema {SCHEMA}, found {schema!r}. Write it again with this version.")
    if document["kind"].value != kind:
        document["kind"].fail(repr(kind))
    return _invariance(document) if kind == "invariance" else _transfer(document)


def _invariance(document: JsonNode) -> InvarianceResult:
    return InvarianceResult(
        **_provenance(document),
        protocol=document["protocol"].text(),
        num_images=document["num_images"].integer(),
        k=document["k"].integer(),
        transforms={name: _transform(node) for name, node in _optional_items(document, "transforms")},
        views={name: _view(node) for name, node in _optional_items(document, "views")},
    )


def _transfer(document: JsonNode) -> TransferResult:
    return TransferResult(
        **_provenance(document),
        task=document["task"].text(),
        metric=document["metric"].text(),
        score=_estimate(document, "score"),
        penalty=document["penalty"].number() if "penalty" in document else None,
        folds=document["folds"].integer(),
        probe=document["probe"].text(),
        num_train=document["num_train"].integer(),
        num_test=document["num_test"].integer(),
        protocol=document["protocol"].text() if "protocol" in document else None,
        test_images=document["test_images"].text() if "test_images" in document else None,
    )


def _provenance(document: JsonNode) -> dict[str, Any]:
    backbone = document["backbone"]
    return {
        "file": document.file,
        "label": document["label"].text(),
        "backbone": Backbone(
            name=backbone["name"].text(),
            checkpoint=backbone["checkpoint"].text() if "checkpoint" in backbone else None,
            sha256=backbone["sha256"].text() if "sha256" in backbone else None,
            num_features=backbone["num_features"].integer(),
        ),
        "config": document["config"].mapping(),
        "versions": {name: str(node.value) for name, node in document["versions"].items()},
        "seed": document["seed"].integer(),
        "timings": {name: node.number() for name, node in document["timings"].items()},
    }


def _optional_items(document: JsonNode, name: str) -> list[tuple[str, JsonNode]]:
    return list(document[name].items()) if name in document else []


def _transform(node: JsonNode) -> TransformResult:
    parameters = tuple(parameter.numbers() for parameter in node["parameters"].elements())
    if len({len(parameter) for parameter in parameters}) != 1:
        node["parameters"].fail("a list of numbers, or of lists of the same length")
    curve = node["similarity"]["curve"].numbers()
    if len(curve) != len(parameters):
        node["similarity"]["curve"].fail(f"a list of {len(parameters)} numbers, one per parameter")
    identity = node["identity"].integer() if "identity" in node else None
    if identity is not None and not 0 <= identity < len(parameters):
        node["identity"].fail(f"the index of a parameter (0 to {len(parameters) - 1}) or null")
    without_identity = "similarity_without_identity"
    return TransformResult(
        kind=node["kind"].text(),
        unit=node["unit"].text() if node["unit"].value else "",
        parameters=parameters,
        identity=identity,
        similarity=_estimate(node["similarity"], "mean"),
        curve=curve,
        distance=_estimate(node["distance"], "mean"),
        similarity_without_identity=_estimate(node[without_identity], "mean") if without_identity in node else None,
        further=_further(node),
    )


def _further(node: JsonNode) -> dict[str, Estimate]:
    """Read what was measured besides the distance and the similarities."""
    return {
        name: _estimate(other, "mean")
        for name, other in node.items()
        if name != "distance" and not name.startswith("similarity")
        if isinstance(other.value, Mapping) and "ci95" in other
    }


def _view(node: JsonNode) -> ViewResult:
    return ViewResult(
        kind=node["kind"].text(),
        similarity=_estimate(node["similarity"], "mean"),
        distance=_estimate(node["distance"], "mean"),
        num_groups=node["num_groups"].integer(),
        num_views=node["num_views"].integer(),
        further=_further(node),
    )


def _estimate(node: JsonNode, mean: str) -> Estimate:
    ends = node["ci95"].numbers()
    if len(ends) != 2 or ends[0] > ends[1]:
        node["ci95"].fail("[low, high]")
    return Estimate(node[mean].number(), *ends)
