"""Real view sets: folders of images in which each group shows one thing in several views."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, get_args

from solo_invariance.config.measure import no_view_set
from solo_invariance.data.listing import EXTENSIONS, files_below, is_image, require_directory
from solo_invariance.data.parts import parts_of
from solo_invariance.errors import UserError
from solo_invariance.protocols import ProtocolName, protocol_named

Kind = Literal["spatial", "appearance"]

_PNG = r"\.(?i:png)"
_JPEG = r"\.(?i:jpe?g)"
_ANY_IMAGE = rf"\.(?i:{'|'.join(sorted(extension[1:] for extension in EXTENSIONS))})"
_ALOT_LIT = r"(?P<material>[0-9]+)/(?P=material)_c(?P<camera>[1-4])l(?P<light>[1-58])(?:r(?P<rotation>[0-9]+))?" + _PNG
_ALOT_REDDISH = r"(?P<material>[0-9]+)/(?P=material)_c(?P<camera>[1-4])i" + _PNG
# The official code takes the light from the material's number, so that they take turns.
_ALOT_LIGHTS = (1, 2, 3, 4, 5, 8)
_ALOT_ONE_LIGHT_EACH = frozenset(f"{material} light {_ALOT_LIGHTS[(material - 1) % 6]}" for material in range(1, 251))
_SHOWN = 3


@dataclass(frozen=True)
class ViewGroup:
    """Views of one thing.

    Args:
        name: What to call the thing in a message.
        paths: The images, at least two.
    """

    name: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class ViewSet:
    """Groups of views, and what differs between the views of a group.

    Args:
        name: One of `VIEW_SET_NAMES`.
        kind: Whether pixels move (``spatial``) or their values change (``appearance``).
        groups: In natural order of their names: 2 before 10.
    """

    name: str
    kind: Kind
    groups: tuple[ViewGroup, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """All views in the order of the groups, each once."""
        return tuple(dict.fromkeys(path for group in self.groups for path in group.paths))


class _View(NamedTuple):
    group: str
    part: str
    file: str


@dataclass(frozen=True)
class _Layout:
    """How a set names its files.

    Args:
        name: Of the set.
        kind: What differs between the views of a group.
        expected: The pattern of the files below the set's folder, to be read by people.
        example: One such file.
        pattern: The same, matched against the whole path relative to the set's folder; its named groups fill
            ``group``, and ``part``, where there is one, says which part of ``views`` a file belongs to. A named group
            that took no part in the match is 0.
        group: A format string of the group's name.
        views: How many views of each part every group has, in the order of the views; empty: any number from two.
        groups: How many groups the whole set has, None where it is not known.
        left_out: Images of the set that are no views here.
        official: The only groups that the official code looks at, where it does not look at all.
    """

    name: str
    kind: Kind
    expected: str
    example: str
    pattern: str
    group: str
    views: Mapping[str, int] = field(default_factory=dict)
    groups: int | None = None
    left_out: str | None = None
    official: frozenset[str] | None = None

    def view(self, file: str) -> _View | None:
        match = re.fullmatch(self.pattern, file)
        if match is None:
            return None
        keys = match.groupdict(default="0")
        return _View(self.group.format_map(keys), keys.get("part", "view"), file)

    def leaves_out(self, file: str) -> bool:
        return self.left_out is not None and re.fullmatch(self.left_out, file) is not None


_LAYOUTS = (
    _Layout(
        name="coil100",
        kind="spatial",
        expected="objN__ANGLE.png",
        example="obj12__355.png",
        pattern=r"obj(?P<object>[0-9]+)__[0-9]+" + _PNG,
        group="obj{object}",
        views={"view": 72},
        groups=100,
    ),
    _Layout(
        name="aloi_viewpoint",
        kind="spatial",
        expected="viewpoint/OBJECT/*.png",
        example="viewpoint/12/12_r35.png",
        pattern=r"viewpoint/(?P<object>[0-9]+)/[^/]+" + _PNG,
        group="{object}",
        views={"view": 72},
        groups=1000,
        left_out=r"(?!viewpoint/).+",
    ),
    _Layout(
        name="aloi_illumination",
        kind="appearance",
        expected="illumination/OBJECT/*CAMERA.png (cameras 1 to 3)",
        example="illumination/12/12_l8c2.png",
        pattern=r"illumination/(?P<object>[0-9]+)/[^/]*(?P<camera>[1-3])" + _PNG,
        group="{object} camera {camera}",
        views={"view": 8},
        groups=3000,
        left_out=r"(?!illumination/).+",
    ),
    _Layout(
        name="aloi_temperature",
        kind="appearance",
        expected="temperature/OBJECT/*.png",
        example="temperature/12/12_i110.png",
        pattern=r"temperature/(?P<object>[0-9]+)/[^/]+" + _PNG,
        group="{object}",
        views={"view": 12},
        groups=1000,
        left_out=r"(?!temperature/).+",
    ),
    _Layout(
        name="alot_viewpoint",
        kind="spatial",
        expected="MATERIAL/MATERIAL_cCAMERAlLIGHT.png or MATERIAL/MATERIAL_cCAMERAlLIGHTrROTATION.png",
        example="12/12_c1l8r60.png",
        pattern=_ALOT_LIT,
        group="{material} light {light}",
        views={"view": 16},  # 4 cameras x 4 rotations
        groups=1500,
        left_out=_ALOT_REDDISH,
        official=_ALOT_ONE_LIGHT_EACH,
    ),
    _Layout(
        name="alot_illumination",
        kind="appearance",
        expected="MATERIAL/MATERIAL_cCAMERAlLIGHT.png or MATERIAL/MATERIAL_cCAMERAlLIGHTrROTATION.png",
        example="12/12_c1l8r60.png",
        pattern=_ALOT_LIT,
        group="{material} camera {camera} rotation {rotation}",
        views={"view": 6},
        groups=4000,
        left_out=_ALOT_REDDISH,
    ),
    _Layout(
        name="alot_temperature",
        kind="appearance",
        expected="MATERIAL/MATERIAL_cCAMERAi.png beside MATERIAL/MATERIAL_cCAMERAl8.png",
        example="12/12_c1i.png",
        pattern=r"(?P<material>[0-9]+)/(?P=material)_c(?P<camera>[1-4])(?P<part>i|l8)" + _PNG,
        group="{material} camera {camera}",
        views={"i": 1, "l8": 1},
        groups=1000,
        left_out=_ALOT_LIT,
    ),
    _Layout(
        name="exposure_errors",
        kind="appearance",
        expected="GT_IMAGES/ID-*.jpg beside INPUT_IMAGES/ID-*.JPG",
        example="INPUT_IMAGES/a0024-_DSC8932_N1.5.JPG",
        pattern=r"(?P<part>GT_IMAGES|INPUT_IMAGES)/(?P<id>[^/_-]+)[_-][^/]*" + _JPEG,
        group="{id}",
        views={"GT_IMAGES": 1, "INPUT_IMAGES": 5},
    ),
    _Layout(
        name="dali",
        kind="spatial",  # with the light, which varies beside the deformation
        expected="input/png/GROUP/*.png",
        example="input/png/12/1.png",
        pattern=r"input/png/(?P<group>[0-9]+)/[^/]+" + _PNG,
        group="{group}",
        views={"view": 32},
        groups=12,
        left_out=r"(?!input/png/).+",
    ),
    _Layout(
        name="flickr1024",
        kind="spatial",
        expected="[SPLIT/]NAME_L.png beside [SPLIT/]NAME_R.png",
        example="Train/0001_L.png",
        pattern=r"(?P<name>(?:[^/]+/)?[^/]+)_(?P<part>[LR])" + _PNG,
        group="{name}",
        views={"L": 1, "R": 1},
    ),
    _Layout(
        name="realblur",
        kind="appearance",
        expected="SCENE/gt/*NUMBER.png beside SCENE/blur/*NUMBER.png",
        example="scene001/gt/gt_1.png",
        pattern=r"(?P<scene>[^/]+)/(?P<part>gt|blur)/(?:[^/]*[^/0-9])?(?P<number>[0-9]+)" + _PNG,
        group="{scene} image {number}",
        views={"gt": 1, "blur": 1},
        # A scene comes with previews of its pairs, in folders of their own.
        left_out=r"[^/]+/(?!gt/|blur/)[^/]+/.+",
    ),
    _Layout(
        name="view_folders",
        kind="spatial",
        expected="GROUP/VIEW.png (or .jpg, ...)",
        example="cup/1.png",
        pattern=r"(?P<group>[^/]+)/[^/]+" + _ANY_IMAGE,
        group="{group}",
    ),
)

VIEW_SET_NAMES: tuple[str, ...] = tuple(layout.name for layout in _LAYOUTS)
"""The names that `read_view_set` knows; ``view_folders`` is any folder with a folder of images for each group."""

UNPUBLISHED = frozenset({"view_folders"})
"""The names of layouts that are no published set: nothing says what differs between their views."""


def kind_of_view_set(name: str) -> Kind:
    """Return what differs between the views of a set's groups, as it is published.

    Raises:
        UserError: There is no such set.

    Example:
        >>> kind_of_view_set("coil100"), kind_of_view_set("realblur")
        ('spatial', 'appearance')
    """
    return _layout_of(name).kind


def read_view_set(name: str, root: Path, kind: Kind | None = None, protocol: ProtocolName = "clean") -> ViewSet:
    """Find the groups of views of a real view set; no image is opened.

    Some of the groups are enough, but each must have all the views that the set was published with. Files that are no
    images and hidden ones are passed over; an image that is no view of the set is an error.

    Args:
        name: One of `VIEW_SET_NAMES`.
        root: The set's own folder, laid out as it was published.
        kind: What differs between the views of a group, in place of the set's own kind: ``spatial`` for COIL-100, the
            viewpoints of ALOI and ALOT, DaLI (whose views differ in light as well as in deformation), Flickr1024 and
            ``view_folders``, ``appearance`` for the rest.
        protocol: ``clean`` has ALOT's viewpoints under each of its six lights, 1500 groups. ``paper`` has each material
            under one light, as the official code, which counts each of these 250 groups six times.

    Returns:
        The groups and the views of each in natural order, whatever the order of the file system.

    Raises:
        UserError: There is no such set, kind or folder, the folder is not laid out as the set is, or a group has not
            the number of views that it should have; the message names the folder and the culprit.

    Source: groups and numbers of views as in the paper's evaluation of invariance to real changes.
    """
    layout = _layout_of(name)
    if layout.name == "view_folders":
        _refuse_parts(root)
    if kind is not None and kind not in get_args(Kind):
        raise UserError(f"kind is {kind!r}; expected {' or '.join(get_args(Kind))}")
    groups = _groups_of(layout, _views_below(layout, root))
    if layout.official is not None and protocol_named(protocol).one_light_a_material:
        groups = {group: views for group, views in groups.items() if group in layout.official}
    _check_groups(layout, root, groups)
    return ViewSet(
        name,
        kind or layout.kind,
        tuple(ViewGroup(group, tuple(root / view.file for view in views)) for group, views in groups.items()),
    )


def _layout_of(name: str) -> _Layout:
    for layout in _LAYOUTS:
        if layout.name == name:
            return layout
    raise no_view_set(name)


def _views_below(layout: _Layout, root: Path) -> list[_View]:
    files = _list_files(root)
    images = [file for file in files if is_image(file)]
    views = {file: view for file in images if (view := layout.view(file))}
    if not views:
        _refuse_layout(layout, root, images, files)
    strays = [file for file in images if file not in views and not layout.leaves_out(file)]
    if strays:
        first = min(strays, key=_natural)
        raise UserError(f"{root}: {first} is no view of {layout.name}, move it elsewhere; {_expectation(layout)}")
    return list(views.values())


def _refuse_parts(root: Path) -> None:
    """Refuse train and test, which are no groups of views of one thing."""
    require_directory(root, "views")
    if parts_of(root) is not None:
        raise UserError(f"{root}: holds the parts of a dataset, not groups of views; name one of the parts")


def _list_files(root: Path) -> list[str]:
    """The files below a folder, as POSIX paths relative to it."""
    require_directory(root, "views")
    return [Path(file).relative_to(root).as_posix() for file in files_below(root)]


def _refuse_layout(layout: _Layout, root: Path, images: list[str], files: list[str]) -> NoReturn:
    first = sorted(images or files, key=_natural)
    found = ", ".join(first[:_SHOWN]) + (", ..." if len(first) > _SHOWN else "")
    fitting = _fitting_folder(layout, root, sorted(images, key=_natural))
    hint = f"; did you mean {fitting}?" if fitting else ""
    raise UserError(
        f"{root}: not laid out as {layout.name}; {_expectation(layout)}; found {found or 'no files in it'}{hint}"
    )


def _expectation(layout: _Layout) -> str:
    return f"expected {layout.expected}, such as {layout.example}"


def _fitting_folder(layout: _Layout, root: Path, images: list[str]) -> Path | None:
    """The folder that may have been meant: one or two levels below or above the one that was named."""
    above = Path(os.path.abspath(root))
    for steps in (1, 2):
        for image in images:
            parts = image.split("/")
            if layout.view("/".join(parts[steps:])):
                return root.joinpath(*parts[:steps])
            if layout.view("/".join((*above.parts[-steps:], image))):
                return above.parents[steps - 1]
    return None


def _groups_of(layout: _Layout, views: list[_View]) -> dict[str, list[_View]]:
    parts = list(layout.views) or ["view"]
    groups: dict[str, list[_View]] = {}
    for view in sorted(views, key=lambda view: (_natural(view.group), parts.index(view.part), _natural(view.file))):
        groups.setdefault(view.group, []).append(view)
    return groups


def _natural(text: str) -> tuple[tuple[str | int, ...], str]:
    """A key that sorts numbers by their value; the text itself decides between 1 and 01."""
    pieces = re.split(r"([0-9]+)", text)
    return tuple(int(piece) if place % 2 else piece for place, piece in enumerate(pieces)), text


def _check_groups(layout: _Layout, root: Path, groups: dict[str, list[_View]]) -> None:
    if layout.groups is not None and len(groups) > layout.groups:
        raise UserError(f"{root}: {len(groups)} groups of views, but {layout.name} has no more than {layout.groups}")
    for name, views in groups.items():
        found = Counter(view.part for view in views)
        if layout.views and found != Counter(layout.views):
            expected = _counted(layout.views)
        elif len(views) < 2:
            expected = "at least 2 views"
        else:
            continue
        raise UserError(
            f"{root}: group {name!r} of {layout.name} has {_counted(found)} ({views[0].file}, ...), expected {expected}"
        )


def _counted(parts: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {part}{'s' * (part == 'view' and count != 1)}" for part, count in parts.items())
