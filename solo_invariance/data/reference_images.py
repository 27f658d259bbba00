"""Images that something is estimated from: some of those that there are, or scenes that are rendered for it."""

import torch

from solo_invariance.data.images import ImageSource, SelectedImages, TensorImages
from solo_invariance.data.latent_scenes.dataset import LatentScenes


def rendered_images(num_images: int, size: int, seed: int, short_side: int | None = None) -> TensorImages:
    """Return the first scenes of a seed, which no other seed has.

    Args:
        num_images: How many.
        size: Side that they are rendered with, in pixels.
        seed: Of the scenes.
        short_side: That they are resized to, in pixels; None to keep the size.
    """
    scenes = LatentScenes(num_images, size=size, seed=seed)
    # Runs are compared image by image, which are known by their names.
    return TensorImages(scenes.images, short_side, name=f"latent_scenes (seed {seed}, {size} pixels) image")


def drawn_images(source: ImageSource, num_images: int | None, seed: int) -> ImageSource:
    """Return some of the images of a source, in its order.

    Args:
        source: Images.
        num_images: How many of them, or all where there are fewer; None for all.
        seed: Of the draw.
    """
    if num_images is None or num_images >= len(source):
        return source
    drawn = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))
    return SelectedImages(source, drawn[:num_images].sort().values.tolist())
