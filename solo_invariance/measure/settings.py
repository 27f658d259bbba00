"""How to measure."""

from dataclasses import dataclass, field, replace
from typing import Literal

from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.features.feature_stream import Precision
from solo_invariance.measure.transforms.transform import ResizeCrop
from solo_invariance.protocols import Protocol, ProtocolName, protocol_named


@dataclass(frozen=True)
class MeasureSettings:
    """How to measure.

    Args:
        protocol: What to do where the official code and a careful one differ; ``quirks`` says it in full. ``paper``
            keeps its quirks: images are drawn with replacement, transforms act on images as they were loaded and views
            are resized after that, the identity counts in the mean, the diagonal counts in view groups, translation and
            scale shear by a degree, ``deform`` is mostly a random affine map, views have 8 bits, and too few reference
            images are an error. ``clean`` repairs them: no replacement, images are resized before they are transformed
            (so that a pixel means the same on all), no identity in the mean, no diagonal, no shear, elastic
            deformation, no rounding of views, and a singular covariance is shrunk.
        budget: ``full`` is every parameter on every image; ``adaptive`` a few parameters, at random, on as many images
            as it takes for the standard error of each mean similarity to reach ``target_se``.
        k: Number of parameters a transform, where it has a choice.
        num_images: Number of images to measure on; None is 1000 for ``full`` and all for ``adaptive``.
        target_se: The standard error to reach, where the budget is ``adaptive``.
        gallery: Number of images that a view is compared with, for the metrics that need others.
        matched_width: To how many dimensions features are projected for the similarity that compares backbones of
            different widths; of a backbone that has no more, it is the plain similarity. The same for all that are
            compared.
        geometry: Sizes of images and crops, in pixels; None is the backbone's own crop, out of images 8/7 as large.
        batch_size: Views in one forward pass, None for what is fastest on the device; changes speed and memory, not
            numbers (to floating point).
        precision: Of the forward passes; ``bf16`` and ``fp16`` are autocast's.
        compiled: Compile the backbone.
        reading: How images are read.
        seed: Of the choice of images and parameters, and of the bootstrap. ``paper`` chooses its images with seed 0,
            whatever this one is, unless the budget is ``adaptive``, which the paper does not know.
    """

    protocol: ProtocolName = "clean"
    budget: Literal["full", "adaptive"] = "full"
    k: int = 256
    num_images: int | None = None
    target_se: float = 0.002
    gallery: int = 1000
    matched_width: int = 64
    geometry: ResizeCrop | None = None
    batch_size: int | None = None
    precision: Precision = "fp32"
    compiled: bool = False
    reading: ReadingPolicy = field(default_factory=ReadingPolicy)
    seed: int = 0

    @property
    def quirks(self) -> Protocol:
        """What the protocol does, quirk by quirk."""
        return protocol_named(self.protocol)

    def interpolation_of(self, spec: InputSpec) -> str:
        """Return how images are resized for a backbone: as it wants; bilinear where views are, as in the paper."""
        return "bilinear" if self.quirks.transforms_before_resizing else spec.interpolation

    def with_geometry(self, geometry: ResizeCrop) -> "MeasureSettings":
        """Return the same settings with these sizes."""
        return replace(self, geometry=geometry)
