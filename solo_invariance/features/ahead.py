"""What forward passes of a backbone will be: which, and how much memory they take."""

import torch
from torch import Tensor, nn

from solo_invariance.backbones import Backbone
from solo_invariance.backbones.chosen import layers_of, pooling_of
from solo_invariance.device import device_of

# PyTorch with what it brings, before anything is loaded; measured, on a CPU and beside a GPU.
_RUNTIME = 1_050_000_000
# At once there are a layer's input and output, what is added to them, and what the convolution unfolds.
_ACTIVATIONS = 4


def in_words(backbone: Backbone) -> str:
    """Return what a backbone is, in a line.

    Example:
        >>> from solo_invariance.backbones import load_backbone
        >>> in_words(load_backbone("random:resnet10", kwargs={"width": 0.25}, crop_size=64))
        'random:resnet10 (resnet10, 128 features, 64 px)'
    """
    about = [backbone.architecture.name, f"{backbone.num_features} features", f"{backbone.input_spec.crop_size} px"]
    if (names := layers_of(backbone.network)) is not None:
        of_each = [f"{name} {width}" for name, width in backbone.layers.items()]
        about.append(f"layer {names}" if isinstance(names, str) else f"layers {', '.join(of_each)}")
    if (pool := pooling_of(backbone.network).pool) is not None:
        about.append(f"pool {pool}")
    if backbone.views is not None:
        about.append(f"averaged over {backbone.views.num_views} views")
    words = f"{backbone.provenance.label} ({', '.join(about)})"
    return words if backbone.provenance.checkpoint is None else f"{words} from {backbone.provenance.checkpoint}"


@torch.inference_mode()
def memory_of_passes(backbone: nn.Module, batch_size: int, crop_size: int) -> int:
    """Return about how many bytes forward passes take: the program, the weights, and the largest activations.

    One image is sent through the network to see how large these are.

    Args:
        backbone: On the device to compute on.
        batch_size: Views in one pass.
        crop_size: Their side, in pixels.
    """
    device, network = device_of(backbone), backbone.network if isinstance(backbone, Backbone) else backbone
    largest = 3 * crop_size**2

    def look(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel())

    hooks = [module.register_forward_hook(look) for module in backbone.modules()]
    try:
        network(torch.zeros(1, 3, crop_size, crop_size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    weights = sum(tensor.nbytes for tensor in (*backbone.parameters(), *backbone.buffers()))
    program = _RUNTIME if device.type == "cpu" else 0
    return program + weights + _ACTIVATIONS * 4 * largest * batch_size
