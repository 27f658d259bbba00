"""The names that a code of one's own has for the weights of torchvision's ResNets."""

from solo_invariance.backbones.namings import Renaming

studio = Renaming(
    "our studio's trainer, trainer/networks.py",
    (
        (r"^entry\.filter\.", "conv1."),
        (r"^entry\.norm\.", "bn1."),
        (r"^stage(\d)\.unit(\d+)\.", r"layer\1.\2."),
        (r"\.filter(\d)\.", r".conv\1."),
        (r"\.norm(\d)\.", r".bn\1."),
        (r"\.skip\.filter\.", ".downsample.0."),
        (r"\.skip\.norm\.", ".downsample.1."),
    ),
)
