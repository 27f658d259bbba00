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
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.backbones.files.checkpoint import listed, odd_kind_of, of_another_shape, shape_of
from solo_invariance.backbones.files.checkpoint_tensors import Held, state_dicts_of, tensors_of, without_wrappers
from solo_invariance.backbones.files.guessing import is_transformers, resembles
from solo_invariance.backbones.files.names_in_files import is_beside, is_computed, is_head, rank_of
from solo_invariance.backbones.files.summary import groups_of
from solo_invariance.backbones.namings import RENAMINGS, Layout, converted_by_timm, numbered_children
from solo_invariance.errors import UserError
from solo_invariance.plugins import discover

_COUNTER = "num_batches_tracked"
"""What batch normalisation counts but does not use; older files lack it."""

_CONTAINERS = {"module", "model", "state_dict"}
"""Parts of names that say nothing of what is in them."""

_RESNET = nn.ModuleDict(
    {name: nn.Identity() for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")}
)
"""By whose children's names those are told that only have numbers."""

_FEWEST = 20
"""No network has fewer tensors."""

_NEARLY = 3
"""What differs in no more weights is the network that was asked for, of which something is wrong."""

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


@dataclass(frozen=True, eq=False)
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

    def unknown(self, heads: Sequence[str]) -> list[str]:
        """Return the names of what is among the network's weights, but neither of it nor of a head."""
        body = {name.partition(".")[0] for name in self.expected}
        return [name for name, value in self.beside.items() if not _is_left_out(name, value, body, heads)]


def _is_left_out(name: str, value: Tensor, body: set[str], heads: Sequence[str]) -> bool:
    first, dot, _ = name.partition(".")
    if is_computed(name):
        return True
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

    def chosen(self, places: Iterable[_Place]) -> list[_Place]:
        """Return the places that are said: of that name, or of that word in their names where none has it."""
        if self.weights is None:
            return list(places)
        said = without_wrappers(self.weights)
        named = [place for place in places if f".{said}." in f".{place.key}."]
        return named or [place for place in places if said in re.split(r"[._]", place.key)]

    def meant(self, places: Iterable[_Place]) -> list[_Place]:
        """Return the places that hold most of the network, of those the ones whose name says that they are evaluated.

        A copy that is whole does not stand in for one that is meant, but lacks a weight.
        """
        most = [place for place in self.chosen(places) if 2 * place.fit > len(self.expected)]
        best = min(map(self.rank, most), default=0)
        return [place for place in most if self.rank(place) == best]

    def rank(self, place: _Place) -> int:
        """Return how early a place is taken."""
        return rank_of(place.key, self.tensors)

    def fitting(self, places: Sequence[_Place]) -> list[_Place]:
        """Return the meant places that have all of the network's weights, of a file in which nothing is left over."""
        return [place for place in self.meant(places) if place.is_whole and not self.left_over(place, places)]

    def left_over(self, place: _Place, places: Sequence[_Place]) -> list[str]:
        """Return the names of weights in and around a place that are neither the network's nor a head's nor a copy's.

        A deeper network has all weights of a shallower one, and more: to leave these out would load a part of it. Where
        the place is said, what is around that does not count.
        """
        known = place.covers.union(*(copy.covers for copy in self._copies(place, places)))
        keys = [one.key for one in (place, *self._copies(place, places))]
        scope = _scope(place.key, self.weights)
        around = [
            name
            for name, held in self.tensors.items()
            if name not in known and _is_below(name, scope) and self._is_unknown(name, held.value, keys)
        ]
        return [*place.unknown(self.heads), *around]

    def _copies(self, place: _Place, places: Sequence[_Place]) -> list[_Place]:
        """Return the other places that hold the network; one that differs in name and rank may lack some of it."""
        return [
            other
            for other in places
            if other is not place
            and 2 * other.fit > len(self.expected)
            and (self.rank(other) != self.rank(place) or (other.is_whole and not other.unknown(self.heads)))
        ]

    def _is_unknown(self, name: str, value: Tensor, keys: Sequence[str]) -> bool:
        first = _first_behind(name, keys)
        is_weight = odd_kind_of(value) is None and value.is_floating_point() and value.numel() > 1
        return is_weight and not is_computed(name) and first not in self.heads and not is_beside(first)


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
    tried, seen, fitting = list[str](), list[_Place](), list[_Place]()
    for name, places in _readings(network, search):
        tried.append(name)
        seen += places
        fitting = search.fitting(places)
        if fitting:
            break
    if not fitting:
        if weights is not None and not search.chosen(seen):
            raise UserError(_no_such_place(search, path, seen))
        raise UserError(f"checkpoint {path}{_complaint(search, search.chosen(seen), tried)}")
    first, *equals = _without_equals(fitting)
    if equals:
        there = " and ".join(_in_words(place.key) for place in (first, *equals))
        raise UserError(
            f"checkpoint {path}: {there} hold the same network with different weights; choose one by "
            f"backbone.weights={first.key or equals[0].key}"
        )
    _, *others = _without_equals([first, *(place for place in search.chosen(places) if place.is_whole)])
    counters = {name: value for name, value in search.expected.items() if name not in first.weights}
    return FoundWeights({**counters, **first.weights}, first.key, tuple(place.key for place in others))


def looks_like(content: Mapping[str, Any]) -> str:
    """Return a clause on what network a checkpoint's weights look like; nothing where they look like none.

    Args:
        content: What the file holds.
    """
    return _looks(tensors_of(content))


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


def _readings(network: nn.Module, search: _Search) -> Iterator[tuple[str, list[_Place]]]:
    """Yield the parts of a file that may hold a network, as they are named, and by each layout; with what it is called.

    timm knows the names of other codes that it has networks of, and its conversion goes behind any other layout, too:
    DINOv2's with registers, by transformers' names, ...
    """
    yield "as named", list(_as_named(search.tensors, search.expected))
    layouts: dict[str, Layout] = {"timm": converted_by_timm}
    for plugin in discover("layouts"):
        try:
            layouts[plugin.name] = plugin.load()
        except UserError as error:  # it is reported, and stops nothing else
            yield f"{plugin.name} ({error})", []
    for name, layout in layouts.items():
        yield name, list(_by_layout(layout, network, search))
    for name, layout in layouts.items():
        if layout is not converted_by_timm:
            yield name, list(_by_layout(_with_timm(layout), network, search))


def _with_timm(layout: Layout) -> Layout:
    def both(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
        renamed = layout(state, network)
        return state if _is_as_it_was(renamed, state) else converted_by_timm(renamed, network)

    return both


def _is_as_it_was(renamed: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    return renamed.keys() == state.keys() and all(value is state[name] for name, value in renamed.items())


def _by_layout(layout: Layout, network: nn.Module, search: _Search) -> Iterator[_Place]:
    """Yield the parts of a file in which a layout finds names of the network."""
    expected = search.expected
    for holder, whole in state_dicts_of(search.tensors).items():
        for prefix, state in _parts_of(whole, len(expected) // _LEAST):
            try:
                renamed = dict(layout(dict(state), network))
                if _is_as_it_was(renamed, state):
                    continue
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
        is_nothing = is_computed(name) or value.numel() <= 1 or (name.endswith(".bias") and not value.any())
        if id(value) in there or is_nothing or is_beside(name.partition(".")[0]) or is_head(name.rpartition(".")[2]):
            continue
        try:
            without = layout({own: one for own, one in state.items() if own != name}, network)
        except Exception:  # it is needed
            continue
        if without.keys() == renamed.keys() and _equal(renamed, without):
            yield name, value


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


def _first_behind(name: str, keys: Sequence[str]) -> str:
    """Return the first part of a name that says something, behind those that it begins with as one of the keys does."""
    *parts, last = name.split(".")
    common = max(_in_common(parts, key.split(".")) for key in keys)
    return next((part for part in parts[common:] if part not in _CONTAINERS), last)


def _in_common(parts: Sequence[str], others: Sequence[str]) -> int:
    pairs = enumerate(zip(parts, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(parts), len(others)))


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


def _no_such_place(search: _Search, path: Path, places: list[_Place]) -> str:
    whole = dict.fromkeys(_in_words(place.key) for place in places if place.is_whole)
    there = ", ".join(whole)
    found = f"has the weights in {there}; name one of these" if whole else f"holds {groups_of(search.values)}"
    return f"backbone.weights={search.weights}: checkpoint {path} {found}"


def _complaint(search: _Search, places: Sequence[_Place], tried: list[str]) -> str:
    """Return why a file has not the weights of a network: what is nearest, what it holds, and what to set."""
    meant = search.meant(places) or places
    nearest = max(meant, key=lambda place: (place.fit, -len(place.beside), -search.rank(place)), default=None)
    holds = f"it holds {groups_of(search.values)}; tried: {', '.join(dict.fromkeys(tried))}"
    if nearest is None or not nearest.fit:
        hint = _looks(search.tensors) or "; set backbone.name to what was trained"
        return f": no weights of the backbone in it{hint}; {holds}"
    left_over = search.left_over(nearest, places)
    problems = [
        listed("missing", nearest.missing),
        listed("left over", left_over),
        listed("of another shape", nearest.misshapen),
    ]
    wrong = "; ".join(filter(None, problems))
    where = f" (its weights in {nearest.key})" if nearest.key else ""
    keys = "".join(f"; {key}" for key in _keys(search, nearest, left_over, places))
    is_nearly_it = len(nearest.missing) + len(nearest.misshapen) + len(left_over) <= _NEARLY
    hint = "" if is_nearly_it else _looks(search.tensors)
    # What to set stands before what is only to be looked through.
    return f" does not fit the backbone: {wrong}{where}{keys}{hint}; {holds}"


def _keys(search: _Search, nearest: _Place, left_over: list[str], places: Sequence[_Place]) -> Iterator[str]:
    """Yield which keys let a file be read: of heads that are unknown, or of a place."""
    around = [name for name in left_over if name not in nearest.beside]
    if nearest.is_whole:
        body = {name.partition(".")[0] for name in search.expected}
        firsts = [
            _first_behind(name, [nearest.key]) if name in around else name.partition(".")[0] for name in left_over
        ]
        unknown = list(dict.fromkeys(first for first in firsts if first not in body))
        if unknown:
            yield f"if {unknown[0]} is a head, leave it out by backbone.heads=[{','.join(unknown)}]"
        if around and nearest.key:
            yield f"backbone.weights={nearest.key} takes that part alone"
    instead = [place.key for place in places if place.is_whole and place.key and place.key != nearest.key]
    if instead:
        yield f"backbone.weights={instead[0]} takes that instead"


def _looks(tensors: Mapping[str, Held]) -> str:
    found = resembles({name: held.value for name, held in tensors.items()}) or next(_by_other_names(tensors), None)
    if found is None and is_transformers(tensors):
        return (
            "; it looks like a network of Hugging Face transformers: backbone.name=hf:FOLDER reads one with its config"
        )
    return "" if found is None else f"; it looks like {found}"


def _by_other_names(tensors: Mapping[str, Held]) -> Iterator[str]:
    """Yield what a file looks like by the names that our own tables give its tensors."""
    for state in state_dicts_of(tensors).values():
        for _, part in _parts_of(state, _FEWEST):
            for layout in (*RENAMINGS, numbered_children):
                with suppress(ValueError, RuntimeError):  # two tensors of one name, or pieces of other shapes
                    if found := resembles(layout(part, _RESNET)):
                        yield found
