"""The networks that solo-learn builds, which have names without a prefix."""

from solo_invariance.backbones.solo_learn import host_builders
from solo_invariance.backbones.sources.own import OWN_BUILDERS
from solo_invariance.backbones.sources.source import Builder
from solo_invariance.backbones.sources.timm import Networks
from solo_invariance.errors import UserError, did_you_mean


class Host(Networks):
    """solo-learn's networks, where solo-learn is there; all but its ResNets are timm's."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return solo-learn's builder of a name.

        Raises:
            UserError: There is none, or no solo-learn; the message lists what there is.
        """
        builders = host_builders()
        if name in builders:
            return lambda **kwargs: builders[name](method=method, **kwargs)
        known = sorted({*OWN_BUILDERS, *builders})
        hint = (
            "" if builders else "; solo-learn was not found (set SOLO_LEARN_DIR to a checkout for its other backbones)"
        )
        others = "timm:NAME, torchvision:NAME, hf:NAME, torch.hub:REPOSITORY:ENTRY, python:MODULE:CALLABLE"
        listed = f"choose from {', '.join(known)}, {others}"
        raise UserError(f"unknown backbone {name!r}{did_you_mean(name, known) or ';'} {listed}{hint}")
