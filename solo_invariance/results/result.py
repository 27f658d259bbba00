"""What the results of measuring and of transfer share: where the numbers come from."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from solo_invariance.results.document import Document, Finite, Record, Text, Whole


class BackboneRecord(Record):
    """The network that was looked at, and the checkpoint that it came from, if any.

    Args:
        name: Of the architecture.
        checkpoint: Path of the file.
        sha256: Hash of the file's content; of weights that somebody's code loads, of these.
        revision: The commit of a hub's that the file is of, where it is known.
        key: Where in the file the weights are, where not all of it is weights.
        remarks: Sentences on what was decided about the file that could have been decided otherwise, and how.
        family: Of the augmentations that the weights were trained with, where the run's ``args.json`` names it.
        seed: That they were trained by, where that says it.
        num_features: D, the width of the features.
        pool: What the features are of a vision transformer's tokens: ``cls``, ``mean``, ``both`` or a word of timm's.
        tokens: Which of them a mean is of, where that was chosen.
        input: Size, normalisation and interpolation of the images that the network was given.
        views: Over which the features are averaged, if they are.
        layer: The inner layer that the features are of, None for the output.
        depth: The layer's place among the network's modules, where the file says it: layers lie in this order.
        untrained: Whether its weights are random, beside a backbone that was measured; older files do not say it.
    """

    name: Text
    checkpoint: Text | None = None
    sha256: Text | None = None
    revision: Text | None = None
    key: Text | None = None
    family: Text | None = None
    seed: Whole | None = None
    remarks: tuple[Text, ...] = ()
    input: Mapping[str, Any] | None = None
    num_features: Whole
    pool: Text | None = None
    tokens: Text | None = None
    views: Mapping[str, Any] | None = None
    layer: Text | None = None
    depth: Whole | None = None
    untrained: bool = False


class Result(Document):
    """Where the numbers of one backbone come from.

    Args:
        label: What the backbone is called.
        backbone: What it is.
        config: The command's whole configuration.
        versions: Of the packages that numbers depend on.
        seed: Of everything that is drawn.
        timings: In seconds.
    """

    label: Text
    backbone: BackboneRecord = Field(repr=False)
    config: Mapping[str, Any] = Field(repr=False)
    versions: Mapping[str, str] = Field(repr=False)
    seed: Whole
    timings: Mapping[str, Finite] = Field(repr=False)

    def numbers(self) -> dict[str, float]:
        """Return the result's numbers by the names that ``objective`` calls them: how wide, and how long it took."""
        seconds = self.timings.get("total_seconds")
        return {"num_features": self.backbone.num_features, **({} if seconds is None else {"seconds": seconds})}
