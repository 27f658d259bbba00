"""What a backbone is written as: its weights as bytes, what they are the weights of, and both in one hash."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.files.checkpoint import sha256_of
from solo_invariance.backbones.files.description import describe
from solo_invariance.backbones.files.exported import EXPORT_SCHEMA
from solo_invariance.results.files import as_text, fingerprint_of, versions

_TOLERANCE = 1e-4  # of the largest feature
# Of the name of what a folder has, whose first part says so.
_PLACE = re.compile(r"(?:random:)?(?:timm:local-dir|hf|torch\.hub):((?:\.{0,2}|~)/[^:]*|\w:\\[^:]*)")


class Written:
    """A backbone as others get it.

    Args:
        backbone: On the CPU.

    Attributes:
        content: What an exported folder's ``config.json`` has of it, without places on this machine in what it says of
            the weights' origin.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.content = {
            "schema": EXPORT_SCHEMA,
            "backbone": as_text(self._without_places(_plain(describe(backbone)))),
            "sha256": sha256(self.weights).hexdigest(),
            "versions": versions(),
        }

    def shortened(self, text: str) -> str:
        """Return a text in which the paths of the weights' origin are their last parts: others have no such folders."""
        for path in self._places:
            text = text.replace(path, Path(path).name)
        return text

    @cached_property
    def _places(self) -> list[str]:
        """The paths that are known of where the backbone, or a member, comes from, the longest first."""
        parts = (self.backbone, *self.backbone.members)
        files = [one.provenance.checkpoint for one in parts if one.provenance.checkpoint]
        names = [name for one in parts for name in (one.architecture.name, one.provenance.label)]
        folders = [found[1] for name in names if (found := _PLACE.match(name))]
        return sorted({path for path in (*files, *folders) if Path(path).name}, key=len, reverse=True)

    def _without_places(self, content: Any, of_origin: bool = False) -> Any:
        """Return a description in which what is said of the weights' origin is shortened."""
        if isinstance(content, Mapping):
            return {key: self._without_places(one, of_origin or key == "provenance") for key, one in content.items()}
        if isinstance(content, list):
            return [self._without_places(one, of_origin) for one in content]
        return self.shortened(content) if of_origin and isinstance(content, str) else content

    @cached_property
    def weights(self) -> bytes:
        """The weights of the whole network, as safetensors."""
        return save(weights_of(self.backbone), metadata={"format": "pt"})

    @property
    def fingerprint(self) -> str:
        """A hash of what decides the features, whoever wrote it where and when."""
        return fingerprint_of_content(self.content)

    def has_weights(self, file: Path) -> bool:
        """Return whether a file holds these weights."""
        return sha256_of(file) == self.content["sha256"]

    def __str__(self) -> str:
        return in_words(self.content)


def weights_of(backbone: Backbone) -> dict[str, Tensor]:
    """Return a copy of the weights of a backbone's whole network, each with memory of its own."""
    weights = backbone.whole_network.state_dict()
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in weights.items()}


def example_images(backbone: Backbone, count: int = 2, extra: tuple[int, int] = (0, 0)) -> Tensor:
    """Return images of noise, in the backbone's size or a larger one; the global random state stays as it was.

    Args:
        backbone: Whose.
        count: How many.
        extra: Pixels that they are higher and wider.
    """
    size, generator = backbone.input_spec.crop_size, torch.Generator().manual_seed(count)
    return torch.rand(count, 3, size + extra[0], size + extra[1], generator=generator)


@torch.no_grad()
def gives_the_same(network: Callable[[Tensor], Tensor], original: Callable[[Tensor], Tensor], images: Tensor) -> bool:
    """Return whether a network gives another one's features, but for rounding: exporters take operations apart."""
    found, expected = network(images), original(images)
    largest = float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=0, atol=_TOLERANCE * largest)


def fingerprint_of_content(content: Mapping[str, Any]) -> str:
    """Return a hash of what decides the features that an exported backbone gives."""
    return fingerprint_of({"backbone": _without_origin(content.get("backbone")), "sha256": content.get("sha256")})


def in_words(content: Mapping[str, Any]) -> str:
    """Return what an exported backbone is, for messages; of a stranger's content, as far as it says it."""
    backbone = content.get("backbone")
    one = backbone if isinstance(backbone, Mapping) else {}
    origin = one.get("provenance")
    label = origin.get("label") if isinstance(origin, Mapping) else None
    return f"{label}, {one.get('num_features')} features, weights {str(content.get('sha256'))[:12]}"


def _without_origin(content: Any) -> Any:
    """Return a description without where the weights came from."""
    if isinstance(content, Mapping):
        return {key: _without_origin(value) for key, value in content.items() if key != "provenance"}
    return [*map(_without_origin, content)] if isinstance(content, list) else content


def _plain(value: Any) -> Any:
    """Return a description as JSON has it; of what is no plain data, what it looks like."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)]
    return value if value is None or isinstance(value, str | bool | int | float) else repr(value)
