"""What images and backbones are known by: hashes of what they are, not of where they lie."""

import hashlib
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.chosen import choice_of
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.data.images import ImageSource, KnownImages, SelectedImages, digest_of
from solo_invariance.errors import UserError
from solo_invariance.progress import Progress, no_progress

_CHUNK = 64
# They decode and resize images, and hold the code of the networks, which their names stand for.
_LIBRARIES = ("pillow", "timm", "torch", "torchvision")


def digests_of(
    source: ImageSource, num_workers: int = 4, progress: Progress = no_progress, what: str = "digests"
) -> list[str]:
    """Return each image's digest, in order; equal images have equal ones, wherever they lie.

    Args:
        source: N images.
        num_workers: Threads that hash; with none, this one does.
        progress: Told how far the work is.
        what: What to call the work.

    Raises:
        UserError: An image cannot be read; the message names it.
    """
    found: list[str] = []
    for part in _in_chunks(source, digest_of, num_workers):
        found += part
        progress(what, len(found), len(source))
    return found


@dataclass(frozen=True)
class DistinctImages(KnownImages):
    """A source's images, each picture once, with their digests.

    Args:
        num_files: How many images the source has, those that repeat included.
    """

    num_files: int


def known_images(source: ImageSource, num_workers: int = 4) -> KnownImages:
    """Return a source's images with their digests; where they have them already, as they are.

    Args:
        source: Images that cannot be read are kept: whoever reads them says so.
        num_workers: Threads that hash; with none, this one does.
    """
    if isinstance(source, KnownImages):
        return source
    return KnownImages(source, [*chain.from_iterable(_in_chunks(source, _digest_or_place, num_workers))])


def distinct_images(source: ImageSource, num_workers: int = 4) -> DistinctImages:
    """Return a source's images, each picture once; where they are that already, as they are.

    Args:
        source: Images that cannot be read are kept: whoever reads them says so.
        num_workers: Threads that hash; with none, this one does.
    """
    if isinstance(source, DistinctImages):
        return source
    first: dict[str, int] = {}
    for index, digest in enumerate(known_images(source, num_workers).digests):
        first.setdefault(digest, index)
    return DistinctImages(SelectedImages(source, list(first.values())), list(first), len(source))


def has_one_of(source: ImageSource, indices: Iterable[int], known: Collection[str]) -> bool:
    """Return whether one of the images of these indices has a digest that is known."""
    return any(_digest_or_place(source, index) in known for index in indices)


def _digest_or_place(source: ImageSource, index: int) -> str:
    try:
        return digest_of(source, index)
    except UserError:
        return f"unreadable {index}"


def digest_of_backbone(backbone: Backbone) -> str:
    """Return a hash of all that a backbone's features of given pixels depend on: its weights, and how it uses them."""
    chosen = choice_of(backbone.network)
    description: dict[str, Any] = {
        "architecture": backbone.architecture.plain(),
        "input": asdict(backbone.input_spec),
        "layers": chosen.pop("layer"),
        **{key: value for key, value in chosen.items() if value is not None},
        "views": [
            module.views.describe()
            for module in backbone.modules()
            if isinstance(module, Backbone) and module.views is not None
        ],
        "fusions": [module.mode for module in backbone.modules() if isinstance(module, FusedNetwork)],
        "versions": {name: version(name) for name in _LIBRARIES},
        **_code_of(backbone),
    }
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode())
    for name, tensor in chain(backbone.named_parameters(), backbone.named_buffers()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # Contiguous: the memory format is no part of the weights.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _code_of(backbone: Backbone) -> dict[str, Any]:
    """Return what the code of a network's modules is known by that is no library's of ``_LIBRARIES``; often nothing."""
    classes = {type(module) for module in backbone.modules()}
    others = {one for one in classes if one.__module__.partition(".")[0] not in (*_LIBRARIES, "solo_invariance")}
    packages = {one.__module__.partition(".")[0] for one in others}
    found = {"transformers": version("transformers")} if "transformers" in packages else {}
    for one in sorted(others, key=lambda one: (one.__module__, one.__qualname__)):
        if not one.__module__.startswith("transformers."):
            found[f"{one.__module__}.{one.__qualname__}"] = _digest_of_code(one)
    return {"code": found} if found else {}


def _digest_of_code(one: type) -> str:
    """Return a hash of the file that has a class; of the class alone where that is a script, which changes often."""
    try:
        file = inspect.getsourcefile(one)
        text = inspect.getsource(one) if file is None or one.__module__ == "__main__" else Path(file).read_text()
    except (OSError, TypeError):  # it was not written to a file
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _in_chunks(source: ImageSource, digest: Callable[[ImageSource, int], str], num_workers: int) -> Iterator[list[str]]:
    """Yield the digests of a source's images, some at a time."""

    def digests(chunk: range) -> list[str]:
        return [digest(source, index) for index in chunk]

    chunks = [range(start, min(start + _CHUNK, len(source))) for start in range(0, len(source), _CHUNK)]
    if num_workers == 0:
        yield from map(digests, chunks)
        return
    with ThreadPoolExecutor(num_workers, "digests") as pool:
        yield from pool.map(digests, chunks)
