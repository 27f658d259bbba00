"""The three families of Ericsson, Gouk & Hospedales (2022): default, ventral (spatial) and dorsal (appearance)."""

from solo_invariance.families.family import Family
from solo_invariance.families.operations.appearance import ColorJitter, GaussianBlur, Grayscale
from solo_invariance.families.operations.spatial import CentreCrop, HorizontalFlip, ResizedCrop

default = Family(
    "default",
    (
        ResizedCrop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        Grayscale(p=0.2),
        GaussianBlur(sigma=(0.1, 2.0), p=0.5),
        HorizontalFlip(p=0.5),
    ),
    invariant_to="place, size and mirror image; colour and sharpness",
)

ventral = Family(
    "ventral",
    (ResizedCrop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)), HorizontalFlip(p=0.5)),
    invariant_to="place, size and mirror image",
)

# Colours and blur come before the crop, as in the paper: sigma is in pixels of the file.
dorsal = Family(
    "dorsal",
    (
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        Grayscale(p=0.2),
        GaussianBlur(sigma=(0.1, 2.0), p=0.5),
        CentreCrop(),
    ),
    invariant_to="colour and sharpness",
)
