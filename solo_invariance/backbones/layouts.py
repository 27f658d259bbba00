"""Whose code wrote a checkpoint does not matter: where in it a network's weights are, found by their names and shapes.

Codes wrap the same network differently: in ``state_dict``, ``model``, ``teacher``; as ``module.encoder_q.*`` or
``backbone._orig_mod.*``; beside heads, queues and momentum copies. Whatever the wrapping, the network's own names end
the names in the file. A place that has all of them, each in its shape, holds the network; there is no list of codes.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.backbones.checkpoint import LISTED, listed, odd_kind_of, of_another_shape, shape_of
from solo_invariance.backbones.guessing import resembles
from solo_invariance.backbones.stand_ins import entries_of
from solo_invariance.errors import UserError

_DEEPEST = 100
# What torch.compile, FSDP, activation checkpointing and pickled modules put into names, at any depth.
_WRAPPERS = {
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_modules",
    "_parameters",
    "_buffers",
}
_HEAD = re.compile(
    r"fc\d*|heads?|linear\d*|mlp|classif\w*|proj\w*|pred\w*|proto\w*|decod\w*|queue\w*|logits?|auxlogits|aux\d*|loss\w*"
    r"|crit\w*|cluster\w*|mask|center|centers|centroids|memory|bank|online|target|momentum|teacher|student|ema"
    r"|last|top",
    re.IGNORECASE,
)
_NO_HEADS = {"norm", "pre"}
_COUNTER = "num_batches_tracked"
"""What batch normalisation counts but does not use; older files lack it."""


@dataclass(frozen=True)
class FoundWeights:
    """A network's weights in a checkpoint.

    Args:
        weights: By their names in the network.
        key: Where they are in the file, such as ``teacher.backbone``; empty where they are all that is in it.
        others: Other places that have weights of the same network, of other values.
    """

    weights: Mapping[str, Tensor]
    key: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Naming:
    """The names that a file may have for a network's weights.

    Args:
        names: From the file's to the network's.
        first: From the first part of the file's to that of the network's, where these differ.
    """

    names: Mapping[str, str]
    first: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Named:
    """A tensor of a file, and the mapping that holds it."""

    value: Tensor
    holder: str


@dataclass(frozen=True)
class _Place:
    """A part of a file that has names of a network: the weights by these, and by those of the file."""

    key: str
    naming: _Naming
    own_names: Mapping[str, str]
    weights: Mapping[str, Tensor]

    def fit(self, expected: Mapping[str, Tensor]) -> int:
        """Return how many weights there are in their shapes."""
        return sum(shape_of(value) == shape_of(expected[name]) for name, value in self.weights.items())

    def fits(self, expected: Mapping[str, Tensor], tensors: "Mapping[str, _Named]", heads: Sequence[str]) -> bool:
        """Whether the weights are all of the network's, of a file that has these tensors, and nothing is left over."""
        return self.has_all(expected) and not _left_over(self, tensors, heads)

    def has_all(self, expected: Mapping[str, Tensor]) -> bool:
        """Whether each weight of the network is there in its shape."""
        return not self._missing(expected) and not of_another_shape(expected, self.weights)

    def problems(self, expected: Mapping[str, Tensor], left_over: list[str]) -> str:
        """Return what keeps the weights from being the network's; nothing where they are."""
        found = [
            listed("missing", self._missing(expected)),
            listed("left over", left_over),
            listed("of another shape", of_another_shape(expected, self.weights)),
        ]
        return "; ".join(filter(None, found))

    def _missing(self, expected: Mapping[str, Tensor]) -> list[str]:
        return [name for name in expected if name not in self.weights and not name.endswith(_COUNTER)]


def find_weights(
    network: nn.Module, content: Mapping[str, Any], path: Path, key: str | None = None, heads: Sequence[str] = ()
) -> FoundWeights:
    """Return a network's weights in a checkpoint of whatever code.

    Of several places that hold the whole network the first in this order is taken: a teacher or an exponential moving
    average (DINO, iBOT, timm); a network called online, query or base (BYOL, MoCo); ``target_encoder`` (I-JEPA, MSN);
    any other; at last a momentum, key, target or student network. The result says which it was.

    Args:
        network: Whose weights, as its names and shapes say.
        content: What the file holds.
        path: Of the file, for messages.
        key: The place to take them from: its name or a part of that, such as ``student``.
        heads: Names of heads that are left out, besides those that are known as such.

    Raises:
        UserError: No place has all weights in their shapes and nothing else but heads, or none that ``key`` names; the
            message says what is nearest.
    """
    tensors = dict(_tensors_of(content))
    expected = network.state_dict()
    places = [place for naming in _namings(network, expected) for place in _places(tensors, naming)]
    fitting = [place for place in places if place.fits(expected, tensors, heads)]
    if not fitting:
        # timm knows the names of other codes that it has networks of: CLIP's, DINOv2's with registers, ...
        converted = dict(_as_timm_converts(network, tensors))
        found = _places(converted, _Naming({name: name for name in expected}))
        fitting = [place for place in found if place.fits(expected, converted, heads)]
    if not fitting:
        raise UserError(f"checkpoint {path}{_complaint(places, tensors, expected, heads)}")
    chosen = [place for place in fitting if key is None or f".{key}." in f".{place.key}."]
    if not chosen:
        there = ", ".join(place.key or "the whole file" for place in fitting)
        raise UserError(f"backbone.key={key}: checkpoint {path} has the weights in {there}; name one of these")
    chosen.sort(key=lambda place: (_rank(place.key), place.key.count(".")))
    first, *others = _without_equals(chosen)
    counters = {name: value for name, value in expected.items() if name not in first.weights}
    return FoundWeights({**counters, **first.weights}, first.key, tuple(place.key for place in others))


def names_of(content: Mapping[str, Any]) -> list[str]:
    """Return the names of a checkpoint's tensors, through mappings of any depth."""
    return [name for name, _ in _tensors_of(content)]


def shapes_of(content: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a checkpoint's tensors by their dotted names."""
    return {name: shape_of(one.value) for name, one in _tensors_of(content)}


def looks_like(content: Mapping[str, Any]) -> str:
    """Return a clause on what network a checkpoint's weights look like; nothing where they look like none."""
    return _looks({name: one.value for name, one in _tensors_of(content)})


def has_small_stem(content: Mapping[str, Any]) -> bool:
    """Whether a ResNet's first convolution, by whatever name, is that for small images, of 3x3 pixels."""
    stems = (one.value for name, one in _tensors_of(content) if re.search(r"(^|\.)(conv1|0)\.weight$", name))
    return any(shape_of(stem)[1:] == (3, 3, 3) for stem in stems)


def _tensors_of(content: Mapping[str, Any]) -> Iterator[tuple[str, _Named]]:
    """Yield a checkpoint's tensors by their dotted names, without what wrappers add to these."""
    seen: set[int] = set()
    pending: list[tuple[str, str, object, int]] = [("", "", content, 0)]
    while pending:
        holder, part, value, depth = pending.pop()
        name = f"{holder}.{part}"
        if isinstance(value, Tensor):
            yield ".".join(part for part in name.split(".") if part and part not in _WRAPPERS), _Named(value, holder)
        elif depth < _DEEPEST and id(value) not in seen:
            # A mapping may hold itself, and one that is there by two names has the same weights by both.
            seen.add(id(value))
            pending += reversed([(name, part, entry, depth + 1) for part, entry in entries_of(value)])


def _namings(network: nn.Module, expected: Mapping[str, Tensor]) -> Iterator[_Naming]:
    yield _Naming({name: name for name in expected})
    # As torch.nn.Sequential(*network.children()) has them, by which lightly takes off the head.
    numbers = {name: str(index) for index, (name, _) in enumerate(network.named_children())}
    numbered = {}
    for name in expected:
        first, dot, rest = name.partition(".")
        numbered[f"{numbers.get(first, first)}{dot}{rest}"] = name
    yield _Naming(numbered, {number: name for name, number in numbers.items()})
    # As ResNets for CIFAR call the convolution beside a block.
    if any(".downsample." in name for name in expected):
        yield _Naming({name.replace(".downsample.", ".shortcut."): name for name in expected})


def _as_timm_converts(network: nn.Module, tensors: Mapping[str, _Named]) -> Iterator[tuple[str, _Named]]:
    """Yield a file's tensors by the names that timm's own conversion for the network gives them; none for others."""
    module = sys.modules[type(network).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None or not module.__name__.startswith("timm."):
        return
    held: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, one in tensors.items():
        at = ".".join(part for part in one.holder.split(".") if part and part not in _WRAPPERS)
        if odd_kind_of(one.value) is None:
            held[at][name.removeprefix(f"{at}.")] = one.value
    for at, state in held.items():
        try:
            converted = convert(dict(state), network)
        except Exception:  # names of the kind, but not all of them
            continue
        for name, value in converted.items():
            if isinstance(value, Tensor) and not _is_resampled(name, value, state):
                yield f"{at}.{name}".lstrip("."), _Named(value, at)


def _is_resampled(name: str, value: Tensor, state: Mapping[str, Tensor]) -> bool:
    """Whether timm's conversion made positions or patches of another size of a file's, and so another network.

    What it may take off is the positions of a token or two, which stand before the others.
    """
    if "pos" in name:
        sizes = {one.numel() for own, one in state.items() if "pos" in own}
        return sizes.isdisjoint(value.numel() + tokens * value.shape[-1] for tokens in range(3))
    return "patch" in name and all(
        one.numel() != value.numel() for one in state.values() if one.ndim in (value.ndim, 2)
    )


def _places(tensors: Mapping[str, _Named], naming: _Naming) -> Iterator[_Place]:
    """Yield the parts of a file in which there are names of the network."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in tensors:
        parts = name.split(".")
        for split in range(len(parts)):
            own = ".".join(parts[split:])
            if own in naming.names:
                found[".".join(parts[:split])][own] = name
    for key, names in found.items():
        yield _Place(key, naming, names, {naming.names[own]: tensors[name].value for own, name in names.items()})


def _left_over(place: _Place, tensors: Mapping[str, _Named], heads: Sequence[str]) -> list[str]:
    """Return the names of what is among a network's weights, but neither of it nor of a head.

    A deeper network has all weights of a shallower one, and more: to leave these out would load a part of it.
    """
    taken, prefix = set(place.own_names.values()), f"{place.key}." if place.key else ""
    holders = {tensors[name].holder for name in taken}
    body = {own.partition(".")[0] for own in place.naming.names}
    left = []
    for name, one in tensors.items():
        if name in taken or not name.startswith(prefix):
            continue
        own = name.removeprefix(prefix)
        first, dot, _ = own.partition(".")
        is_counter = not dot and shape_of(one.value) == ()
        is_head = first in heads or _is_head(place.naming.first.get(first, first))
        if not is_head and not is_counter and (first in body or one.holder in holders):
            left.append(own)
    return left


def _is_head(name: str) -> bool:
    words = name.split("_")
    return any(map(_HEAD.fullmatch, words)) and _NO_HEADS.isdisjoint(words)


def _rank(key: str) -> int:
    words = set(re.split(r"[._]", key))
    if words & {"teacher", "ema"}:
        return 0
    if words & {"momentum", "key", "k"}:
        return 4
    if words & {"online", "query", "q", "base"}:
        return 1
    if "target_encoder" in key.split("."):
        return 2
    return 4 if words & {"target", "student"} else 3


def _without_equals(places: Sequence[_Place]) -> list[_Place]:
    """Return places that differ in their weights, the first of those that do not."""
    different: list[_Place] = []
    for place in places:
        if not any(_equal(place.weights, other.weights) for other in different):
            different.append(place)
    return different


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(name.endswith(_COUNTER) or _same_numbers(value, other[name]) for name, value in one.items())


def _same_numbers(one: Tensor, other: Tensor) -> bool:
    if one is other:
        return True
    odd = odd_kind_of(one) or odd_kind_of(other)
    return odd is None and one.dtype == other.dtype and torch.equal(one, other)


def _complaint(
    places: Sequence[_Place],
    tensors: Mapping[str, _Named],
    expected: Mapping[str, Tensor],
    heads: Sequence[str],
) -> str:
    """Return why a file has not the weights of a network: what it holds, or what is nearest."""
    nearest = max(places, key=lambda place: (place.fit(expected), -_rank(place.key)), default=None)
    hint = _looks({name: one.value for name, one in tensors.items()})
    if nearest is None or not nearest.fit(expected):
        found = sorted({_beginning(name) for name in tensors})
        holds = ", ".join(found[:LISTED]) or "no tensors"
        return f": no weights of the backbone in it; it holds {holds}{hint}"
    left_over = _left_over(nearest, tensors, heads)
    where = f" (its weights in {nearest.key})" if nearest.key else ""
    unknown = [own for own in left_over if own.partition(".")[0] not in {n.partition(".")[0] for n in expected}]
    name = unknown[0].partition(".")[0] if unknown and nearest.has_all(expected) else None
    ignore = "" if name is None else f"; if {name} is a head, leave it out by backbone.heads=[{name}]"
    return f" does not fit the backbone: {nearest.problems(expected, left_over)}{where}{ignore}{hint}"


def _beginning(name: str) -> str:
    """Return as much of a name as tells what it is of: without what each name of a file begins with."""
    return ".".join(name.split(".")[:2])


def _looks(tensors: Mapping[str, Tensor]) -> str:
    found = resembles(tensors)
    return "" if found is None else f"; it looks like {found}"
