"""The random-initialisation baseline of a backbone: what it owes to training, and what to its architecture."""

from torch import nn

from solo_invariance.backbones.backbone import Backbone, Provenance
from solo_invariance.backbones.chosen import choice_of, whole, with_choice
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.backbones.seeded_init import seeded
from solo_invariance.errors import UserError

_STREAM = 0x74_77_69_6E
"""Keeps a baseline's draw apart from that of ``random:NAME``, so that the same seed does not give the same weights."""


def random_init_of(backbone: Backbone, seed: int) -> Backbone:
    """Return a backbone of the same architecture, input, layers and device, whose weights are freshly initialised.

    The weights are the builder's initialisation, never a download, and batch normalisation has the statistics that it
    begins with: mean 0 and variance 1. Of a fused backbone, every member is replaced, each by a draw of its own.

    Args:
        backbone: Any that ``load_backbone`` gives, or one whose ``architecture`` builds its network.
        seed: Of the weights; the global random state stays as it was. That of ``random:NAME`` is another draw,
            with the seed that ``load_backbone`` was given, too.

    Raises:
        UserError: The architecture cannot be built by its name, or builds another network.
    """
    with seeded(seed ^ _STREAM):
        return _baseline(backbone).to(backbone.mean)


def _baseline(backbone: Backbone) -> Backbone:
    network = _untrained(backbone.network, backbone)
    provenance = Provenance(label=f"{backbone.provenance.label} (untrained)")
    architecture = backbone.architecture.without_weights()
    return Backbone(network, architecture, backbone.input_spec, provenance, backbone.views)


def _untrained(network: nn.Module, backbone: Backbone) -> nn.Module:
    if whole(network) is not network:
        return with_choice(_untrained(whole(network), backbone), choice_of(network))
    if isinstance(network, FusedNetwork):
        return network.with_members([_baseline(member) for member in network.backbones])
    return _rebuilt(network, backbone)


def _rebuilt(network: nn.Module, backbone: Backbone) -> nn.Module:
    wanted = f"{backbone.provenance.label}: an untrained twin needs an architecture that can be built by name"
    try:
        fresh = backbone.architecture.untrained()
    except UserError as error:
        raise UserError(f"{wanted} ({error})") from error
    shapes = {name: value.shape for name, value in fresh.state_dict().items()}
    # What is built may have more: torchvision takes auxiliary classifiers off where it loads weights.
    for name, value in network.state_dict().items():
        if shapes.get(name) != value.shape:
            raise UserError(f"{wanted}, and {backbone.architecture.name!r} builds another network (see {name})")
    return fresh
