"""The sizes that images have when they are measured."""

from typing import NamedTuple

from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.data.framing import resize_for


class ResizeCrop(NamedTuple):
    """Sizes in pixels: images' short side is resized to ``resize``; the backbone sees centre crops of ``crop_size``.

    Four classes say that a short side is resized and a square cut out, each at its own place: an ``InputSpec`` is what
    a network was trained on, and its size is what ``ResizeCrop.of_crop`` starts from; a ``ResizeCrop`` is for
    measuring, where transforms need what lies around the crop; a ``Framing`` is for tasks, whose images are resized to
    the crop itself and whose targets move along; and a ``Canvas`` is the square that data workers keep of an image in
    training, out of which random crops are taken.

    Args:
        resize: Short side of the images.
        crop_size: Side of the crops, not more than ``resize``.
    """

    resize: int = 256
    crop_size: int = 224

    @classmethod
    def of_crop(cls, crop_size: int) -> "ResizeCrop":
        """Return the sizes for crops of some pixels, out of images 8/7 as large.

        Example:
            >>> ResizeCrop.of_crop(64)
            ResizeCrop(resize=73, crop_size=64)
        """
        return cls(resize_for(crop_size), crop_size)

    @classmethod
    def of_input(cls, spec: InputSpec, crop_size: int | None = None) -> "ResizeCrop":
        """Return the sizes for a network's input, or for crops of other pixels, of images that are as much larger."""
        size = spec.crop_size if crop_size is None else crop_size
        return cls(spec.resize_for(size), size)
