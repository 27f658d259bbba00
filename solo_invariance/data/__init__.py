"""Images: files, tensors and datasets as sources of uint8 tensors, and the sets of views among them."""

from solo_invariance.data.framing import FramedImages, Framing, SquareCrops
from solo_invariance.data.images import ImageFiles, ImageSource, KnownImages, SelectedImages, TensorImages
from solo_invariance.data.latent_scenes import LatentScenes
from solo_invariance.data.sources import Images, image_source
from solo_invariance.data.view_sets import ViewSet, read_view_set

__all__ = [
    "FramedImages",
    "Framing",
    "ImageFiles",
    "ImageSource",
    "Images",
    "KnownImages",
    "LatentScenes",
    "SelectedImages",
    "SquareCrops",
    "TensorImages",
    "ViewSet",
    "image_source",
    "read_view_set",
]
