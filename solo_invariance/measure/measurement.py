"""What a backbone became invariant to: the door to measuring it."""

from collections.abc import Mapping

from solo_invariance.data.images import ImageSource
from solo_invariance.data.sources import with_short_side
from solo_invariance.measure.loop.partial_results import PartialResults
from solo_invariance.measure.loop.plan import Plan, choose_images
from solo_invariance.measure.loop.summary import Measured
from solo_invariance.measure.loop.transform_run import TransformRun
from solo_invariance.measure.loop.whitened import WhitenedBackbone
from solo_invariance.measure.metrics.distance import InvarianceDistance
from solo_invariance.measure.metrics.similarity import InvarianceSimilarity
from solo_invariance.measure.metrics.view_metric import ViewMetric, prototypes_of
from solo_invariance.measure.metrics.width_matched_similarity import WidthMatchedSimilarity
from solo_invariance.measure.transforms.transform import Transform

METRICS: Mapping[str, type[ViewMetric]] = {
    "similarity": InvarianceSimilarity,
    "width_matched_similarity": WidthMatchedSimilarity,
    "distance": InvarianceDistance,
}
"""The paper's two, and what compares backbones of different widths; the entry points have others."""


class InvarianceMeasurement(WhitenedBackbone):
    """A backbone with the statistics of its features on clean reference images, ready to be measured.

    Arguments, attributes and errors are those of ``WhitenedBackbone``.

    Example:
        >>> import torch
        >>> from solo_invariance.backbones import load_backbone
        >>> from solo_invariance.data.images import TensorImages
        >>> from solo_invariance.measure import MeasureSettings
        >>> from solo_invariance.measure.transforms import h_flip
        >>> pixels = torch.randint(0, 256, (80, 3, 37, 37), dtype=torch.uint8)
        >>> backbone = load_backbone("random:resnet10", kwargs={"width": 0.125}, crop_size=32)
        >>> measurement = InvarianceMeasurement(backbone, TensorImages(pixels), MeasureSettings(num_images=20))
        >>> measured = measurement.measure({"h_flip": h_flip}, TensorImages(pixels))[""]
        >>> -1 <= measured["h_flip"].summary["similarity"]["mean"] <= 1
        True
    """

    def choose_images(self, source: ImageSource) -> list[int]:
        """Return the indices of the images to measure on: ``num_images``, or all if there are fewer (``clean``)."""
        return choose_images(len(source), self.settings)

    def measure(
        self,
        transforms: Mapping[str, Transform],
        source: ImageSource,
        metrics: Mapping[str, ViewMetric | type[ViewMetric]] = METRICS,
        parts: PartialResults | None = None,
    ) -> dict[str, dict[str, Measured]]:
        """Measure the invariance to transforms over their grids of parameters.

        Images are read once, and their clean features computed once, for all transforms.

        Args:
            transforms: By name.
            source: The images. Files and tensors are resized to a short side of ``geometry.resize`` pixels before they
                are transformed (``protocol=clean``), and the images of other sources must have it; or they are
                transformed as they are, and their views are resized (``protocol=paper``).
            metrics: By name, each a class or a configured metric, which is left as it is; ``similarity`` is among them.
            parts: Where to keep what is done, and where what was done before is found; several processes share it.

        Returns:
            By layer of the backbone's features and transform: the summary has the parameters and, for each metric,
            ``mean``, ``ci95``, ``standard_error`` and ``curve``; the arrays hold what they come from.

        Raises:
            UserError: An image is unreadable or of another size, or its features are not finite; the message names it.
        """
        prototypes = prototypes_of(metrics)
        if "similarity" not in metrics:
            raise ValueError(f"metrics: {', '.join(metrics)}: expected similarity among them")
        before = self.settings.quirks.transforms_before_resizing
        sized = with_short_side(source, None) if before else self.sized(source)
        plan = Plan(transforms, sized, prototypes, self.settings, self.geometry)
        run = TransformRun(self, plan, PartialResults() if parts is None else parts)
        run.measure()
        return {layer: {name: run.summary(name, layer) for name in transforms} for layer in self.backbone.layers}

    def measure_transform(
        self,
        name: str,
        transform: Transform,
        source: ImageSource,
        metrics: Mapping[str, ViewMetric | type[ViewMetric]] = METRICS,
    ) -> Measured:
        """Measure one transform on a backbone of one layer.

        Args:
            name: What to call it in messages.
            transform: The transform.
            source: The images, as for ``measure``.
            metrics: By name, each a class or a configured metric; ``similarity`` is among them.

        Raises:
            UserError: An image is unreadable or of another size, or its features are not finite; the message names it.
        """
        (measured,) = self.measure({name: transform}, source, metrics).values()
        return measured[name]
