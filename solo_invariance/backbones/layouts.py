"""Whose code wrote a checkpoint does not matter: where in it a network's weights are, found by their names and shapes.

Codes wrap the same network differently: in ``state_dict``, ``model``, ``teacher``; as ``module.encoder_q.*`` or
``backbone._orig_mod.*``; beside heads, queues and momentum copies. Whatever the wrapping, the network's own names end
the names in the file. A place that has all of them, each in its shape, holds the network; there is no list of codes.
Only where a code has names of its own for the same weights does it take a layout (``namings``), and what heads and
copies are called is in tables (``names_in_files``).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.backbones.checkpoint import listed, odd_kind_of, of_another_shape, shape_of
from solo_invariance.backbones.checkpoint_tensors import Held, state_dicts_of, tensors_of, without_wrappers
from solo_invariance.backbones.guessing import resembles
from solo_invariance.backbones.names_in_files import is_beside, is_head, rank_of
from solo_invariance.backbones.namings import Layout, converted_by_timm
from solo_invariance.backbones.summary import groups_of
from solo_invariance.errors import UserError
from solo_invariance.plugins import discover

_COUNTER = "num_batches_tracked"
"""What batch normalisation counts but does not use; older files lack it."""

_CONTAINERS = {"module", "model", "state_dict"}
"""Parts of names that say nothing of what is in them."""

_LEAST = 4
"""A layout is asked of what may be a network: what has at least one in so many of its weights."""


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
class _Place:
    """A part of a file that has names of a network.

    Args:
        key: What the file's names of it begin with.
        expected: The network's weights.
        weights: The file's, by the names that the network has for them.
        beside: What else is there, by names of the same kind.
        covers: The names that all of these have in the file.
    """

    key: str
    expected: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    beside: Mapping[str, Tensor]
    covers: frozenset[str]

    @cached_property
    def fit(self) -> int:
        """How many weights there are in their shapes."""
        return sum(shape_of(value) == shape_of(self.expected[name]) for name, value in self.weights.items())

    @cached_property
    def missing(self) -> list[str]:
        """The network's weights that are not there."""
        return [name for name in self.expected if name not in self.weights and not name.endswith(_COUNTER)]

    @cached_property
    def misshapen(self) -> list[str]:
        """What is there in another shape than the network's."""
        return of_another_shape(self.expected, self.weights)

    @property
    def is_whole(self) -> bool:
        """Whether each weight of the network is there in its shape."""
        return not self.missing and not self.misshapen

    def left_over(self, heads: Sequence[str]) -> list[str]:
        """Return the names of what is among the network's weights, but neither of it nor of a head.

        A deeper network has all weights of a shallower one, and more: to leave these out would load a part of it.
        """
        body = {name.partition(".")[0] for name in self.expected}
        return [name for name, value in self.beside.items() if not _is_left_out(name, value, body, heads)]


def _is_left_out(name: str, value: Tensor, body: set[str], heads: Sequence[str]) -> bool:
    first, dot, _ = name.partition(".")
    is_number = not dot and shape_of(value) == ()
    # A network's own head is in its body: timm's ConvNeXts normalise in head.norm, and classify in head.fc.
    return first in heads or is_head(first) or (is_number and first not in body)


@dataclass(frozen=True)
class _Search:
    """What is looked for in a file.

    Args:
        tensors: The file's.
        expected: The network's weights.
        weights: The place to take them from, where it is said.
        heads: Names of heads that are known by the user.
    """

    tensors: Mapping[str, Held]
    expected: Mapping[str, Tensor]
    weights: str | None
    heads: Sequence[str]

    @property
    def values(self) -> dict[str, Tensor]:
        """The file's tensors by their names."""
        return {name: held.value for name, held in self.tensors.items()}

    def fitting(self, places: Iterable[_Place]) -> list[_Place]:
        """Return the places that have all of the network's weights, of a file in which nothing is left over."""
        whole = [place for place in places if place.is_whole and not place.left_over(self.heads)]
        return [place for place in whole if not self.elsewhere(place, whole)]

    def elsewhere(self, place: _Place, copies: Iterable[_Place]) -> list[str]:
        """Return the names of weights around a place that are neither heads nor a copy of the network.

        Where the place is said, only what is below that.
        """
        known = place.covers.union(*(copy.covers for copy in copies))
        scope = _scope(place.key, self.weights)
        return [
            name
            for name, held in self.tensors.items()
            if name not in known and _is_below(name, scope) and self._is_unknown(name, held.value, place.key)
        ]

    def _is_unknown(self, name: str, value: Tensor, key: str) -> bool:
        first = _first_behind(name, key)
        is_weight = odd_kind_of(value) is None and value.is_floating_point() and value.numel() > 1
        return is_weight and first not in self.heads and not is_beside(first)


def find_weights(
    network: nn.Module, content: Mapping[str, Any], path: Path, weights: str | None = None, heads: Sequence[str] = ()
) -> FoundWeights:
    """Return a network's weights in a checkpoint of whatever code.

    Of several places that hold the whole network the one is taken whose name says that its method's authors evaluate
    it: a teacher or an average (DINO, iBOT, timm); a network called online, query or base (BYOL, MoCo);
    ``target_encoder`` (I-JEPA, MSN); any other; at last a momentum, key, target or student network. The result says
    which it was.

    Args:
        network: Whose weights, as its names and shapes say.
        content: What the file holds.
        path: Of the file, for messages.
        weights: The place to take them from: its name or a part of that, such as ``student``.
        heads: Names of heads that are left out, besides those that are known as such.

    Raises:
        UserError: No place has all weights in their shapes and nothing else but heads, or none that ``weights`` names,
            or several of which nothing says which one; the message says what is nearest.
    """
    search = _Search(tensors_of(content), network.state_dict(), weights, heads)
    named = list(_as_named(search.tensors, search.expected))
    tried, fitting = ["as named"], search.fitting(_chosen(named, weights))
    for name, layout in () if fitting else _layouts():
        if isinstance(layout, UserError):
            tried.append(f"{name} ({layout})")
            continue
        tried.append(name)
        places = list(_by_layout(layout, network, search.tensors, search.expected))
        fitting = search.fitting(_chosen(places, weights))
        if fitting:
            break
    if not fitting:
        if weights is not None and not _chosen(named, weights):
            raise UserError(_no_such_place(search, path, named))
        raise UserError(f"checkpoint {path}{_complaint(search, _chosen(named, weights), tried)}")
    names = list(search.tensors)
    fitting.sort(key=lambda place: rank_of(place.key, names))
    first, *others = _without_equals(fitting)
    if others and rank_of(others[0].key, names) == rank_of(first.key, names):
        there = " and ".join(_in_words(place.key) for place in (first, *others))
        raise UserError(
            f"checkpoint {path}: {there} hold the same network with different weights; choose one by "
            f"backbone.weights={first.key or others[0].key}"
        )
    counters = {name: value for name, value in search.expected.items() if name not in first.weights}
    return FoundWeights({**counters, **first.weights}, first.key, tuple(place.key for place in others))


def looks_like(content: Mapping[str, Any]) -> str:
    """Return a clause on what network a checkpoint's weights look like; nothing where they look like none.

    Args:
        content: What the file holds.
    """
    return _looks({name: held.value for name, held in tensors_of(content).items()})


def has_small_stem(content: Mapping[str, Any]) -> bool:
    """Whether a ResNet's first convolution, by whatever name, is that for small images, of 3x3 pixels.

    Args:
        content: What the file holds.
    """
    name = re.compile(r"(^|\.)(conv1|0|embedder\.embedder\.convolution)\.weight$")
    stems = (held.value for own, held in tensors_of(content).items() if name.search(own))
    return any(shape_of(stem)[1:] == (3, 3, 3) for stem in stems)


def _as_named(tensors: Mapping[str, Held], expected: Mapping[str, Tensor]) -> Iterator[_Place]:
    """Yield the parts of a file in which there are names of the network as it has them itself."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in tensors:
        parts = name.split(".")
        for split in range(len(parts)):
            own = ".".join(parts[split:])
            if own in expected:
                found[".".join(parts[:split])][own] = name
    body = {name.partition(".")[0] for name in expected}
    for key, names in found.items():
        taken, holders = set(names.values()), {tensors[name].holder for name in names.values()}
        below = {_below(name, key): name for name in tensors if _is_below(name, key) and name not in taken}
        beside = {
            own: name for own, name in below.items() if own.partition(".")[0] in body or tensors[name].holder in holders
        }
        yield _Place(
            key,
            expected,
            {own: tensors[name].value for own, name in names.items()},
            {own: tensors[name].value for own, name in beside.items()},
            frozenset(taken.union(beside.values())),
        )


def _layouts() -> Iterator[tuple[str, Layout | UserError]]:
    """Yield layouts by their names, each by itself and with timm's conversion behind it; or why there is none."""
    found: dict[str, Layout] = {}
    for plugin in discover("layouts"):
        try:
            found[plugin.name] = plugin.load()
        except UserError as error:
            yield plugin.name, error
    yield from found.items()
    yield "timm", converted_by_timm
    # timm knows the names of other codes that it has networks of: DINOv2's with registers, by transformers' names, ...
    yield from ((name, _with_timm(layout)) for name, layout in found.items())


def _with_timm(layout: Layout) -> Layout:
    return lambda state, network: converted_by_timm(layout(state, network), network)


def _by_layout(
    layout: Layout, network: nn.Module, tensors: Mapping[str, Held], expected: Mapping[str, Tensor]
) -> Iterator[_Place]:
    """Yield the parts of a file in which a layout finds names of the network."""
    for holder, whole in state_dicts_of(tensors).items():
        for prefix, state in _parts_of(whole, len(expected) // _LEAST):
            try:
                renamed = dict(layout(dict(state), network))
                dropped = dict(_dropped(layout, network, state, renamed))
            except Exception:  # not of this layout, and a stranger's tensors can be anything
                continue
            weights = {name: value for name, value in renamed.items() if name in expected}
            beside = {name: value for name, value in renamed.items() if name not in expected} | dropped
            key = ".".join(filter(None, (holder, prefix)))
            covers = frozenset(".".join(filter(None, (key, name))) for name in state)
            yield _Place(key, expected, weights, beside, covers)


def _parts_of(state: Mapping[str, Tensor], least: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield what is below each beginning of a state dict's names, where that is at least so much."""
    beginnings: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        beginnings.update(".".join(parts[:split]) for split in range(len(parts)))
    for beginning, count in beginnings.items():
        if count >= least:
            yield beginning, {_below(name, beginning): state[name] for name in state if _is_below(name, beginning)}


def _dropped(
    layout: Layout, network: nn.Module, state: Mapping[str, Tensor], renamed: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of which a layout makes nothing: it gives the same without them."""
    there = set(map(id, renamed.values()))
    for name, value in state.items():
        if id(value) in there or is_beside(name.partition(".")[0]) or value.numel() <= 1:
            continue
        try:
            without = layout({own: one for own, one in state.items() if own != name}, network)
        except Exception:  # it is needed
            continue
        if without.keys() == renamed.keys() and _equal(renamed, without):
            yield name, value


def _chosen(places: Iterable[_Place], weights: str | None) -> list[_Place]:
    """Return the places that are meant: of that name, or of that word in their names where none has it."""
    if weights is None:
        return list(places)
    named = [place for place in places if f".{without_wrappers(weights)}." in f".{place.key}."]
    return named or [place for place in places if weights in re.split(r"[._]", place.key)]


def _scope(key: str, weights: str | None) -> str:
    """Return what a place's name begins with, up to what was said of it; nothing where nothing was."""
    if weights is None:
        return ""
    parts, said = key.split("."), without_wrappers(weights).split(".")
    for end in range(len(said), len(parts) + 1):
        if parts[end - len(said) : end] == said:
            return ".".join(parts[:end])
    return ".".join(parts[: 1 + next(at for at, part in enumerate(parts) if weights in part.split("_"))])


def _is_below(name: str, key: str) -> bool:
    return not key or name.startswith(f"{key}.")


def _below(name: str, key: str) -> str:
    return name.removeprefix(f"{key}.") if key else name


def _first_behind(name: str, key: str) -> str:
    """Return the first part of a name that says something, behind those that it begins with as a key does."""
    *parts, last = name.split(".")
    for one in key.split("."):
        if parts[:1] != [one]:
            break
        parts = parts[1:]
    return next((part for part in parts if part not in _CONTAINERS), last)


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


def _in_words(key: str) -> str:
    return key or "the whole file"


def _no_such_place(search: _Search, path: Path, named: list[_Place]) -> str:
    whole = [place for place in named if place.is_whole]
    there = ", ".join(_in_words(place.key) for place in whole)
    found = f"has the weights in {there}; name one of these" if whole else f"holds {groups_of(search.values)}"
    return f"backbone.weights={search.weights}: checkpoint {path} {found}"


def _complaint(search: _Search, places: Sequence[_Place], tried: list[str]) -> str:
    """Return why a file has not the weights of a network: what is nearest, what it holds, and what to set."""
    nearest = max(places, key=lambda place: (place.fit, -rank_of(place.key, ())), default=None)
    holds = f"it holds {groups_of(search.values)}; tried: {', '.join(dict.fromkeys(tried))}"
    hint = _looks(search.values)
    if nearest is None or not nearest.fit:
        return f": no weights of the backbone in it; {holds}{hint or '; set backbone.name to what was trained'}"
    left, around = nearest.left_over(search.heads), search.elsewhere(nearest, [p for p in places if p.is_whole])
    problems = [
        listed("missing", nearest.missing),
        listed("left over", left + around),
        listed("of another shape", nearest.misshapen),
    ]
    where = f" (its weights in {nearest.key})" if nearest.key else ""
    return (
        f" does not fit the backbone: {'; '.join(filter(None, problems))}{where}; {holds}{_keys(search, nearest)}{hint}"
    )


def _keys(search: _Search, nearest: _Place) -> str:
    """Return which keys let a place fit that has the whole network: of heads that are unknown, or of the place."""
    if not nearest.is_whole:
        return ""
    body = {name.partition(".")[0] for name in search.expected}
    own = [name.partition(".")[0] for name in nearest.left_over(search.heads)]
    around = [_first_behind(name, nearest.key) for name in search.elsewhere(nearest, [nearest])]
    unknown = list(dict.fromkeys(name for name in [*own, *around] if name not in body))
    said = f"; if {unknown[0]} is a head, leave it out by backbone.heads=[{','.join(unknown)}]" if unknown else ""
    return f"{said}; backbone.weights={nearest.key} takes that part alone" if around and nearest.key else said


def _looks(tensors: Mapping[str, Tensor]) -> str:
    found = resembles(tensors)
    return "" if found is None else f"; it looks like {found}"
