"""Features of images, in order."""

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.data.images import ImageSource, Progress, by_shape, load_batches, no_progress
from solo_invariance.errors import UserError


@torch.inference_mode()
def extract_features(
    backbone: Backbone,
    source: ImageSource,
    batch_size: int = 256,
    num_workers: int = 0,
    progress: Progress = no_progress,
    what: str = "features",
) -> Tensor:
    """Return the features of all images of a source.

    Args:
        backbone: On the device to compute on.
        source: N images; each is resized to the backbone's input as a whole.
        batch_size: Images in one forward pass.
        num_workers: Processes that read images.
        progress: Told how far the work is.
        what: What to call the work.

    Returns:
        (N, D) float32 on the CPU, in the order of the source.

    Raises:
        UserError: An image is unreadable or its features are not finite; the message names it.
    """
    device = next(backbone.parameters()).device
    features = torch.empty(len(source), backbone.num_features)
    for rows, images in load_batches(source, range(len(source)), batch_size, num_workers):
        for positions, stack in by_shape(images):
            chosen = [rows[position] for position in positions]
            features[chosen] = backbone(stack.to(device).float().div(255)).float().cpu()
        finite = features[rows].isfinite().all(dim=1)
        if not finite.all():
            culprit = rows[int((~finite).int().argmax())]
            raise UserError(f"{source.name_of(culprit)}: the backbone's features are not finite (NaN or inf)")
        progress(what, rows[-1] + 1, len(source))
    return features
