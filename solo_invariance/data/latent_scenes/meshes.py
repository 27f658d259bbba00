"""The shapes of the embedded scenes: triangle meshes put together from convex parts.

Axes: x to the right (an animal or vehicle faces +x), y away from the camera, z up. No shape is a body of revolution and
none has a rotational symmetry, so that every rotation shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import cos, pi, sin
from typing import NamedTuple

import torch
from torch import Tensor

Point = tuple[float, float, float]
Polygon = Sequence[tuple[float, float]]


class Mesh(NamedTuple):
    """T triangles, wound counterclockwise as seen from outside.

    Attributes:
        corners: `(T, 3, 3)`, triangle x corner x coordinate.
        normals: `(T, 3, 3)`, the unit outward normal at each corner.
        tones: `(T,)`, factor on the object's colour, in (0, 1].
    """

    corners: Tensor
    normals: Tensor
    tones: Tensor


def join(parts: Sequence[Mesh]) -> Mesh:
    """Put meshes one after the other into one."""
    return Mesh(*(torch.cat(field) for field in zip(*parts, strict=True)))


def _part(corners: Tensor, normals: Tensor | None, tone: float) -> Mesh:
    """Close a convex part: wind its triangles outwards; without `normals` its faces are flat."""
    face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (face * (corners.mean(1) - corners.mean((0, 1)))).sum(-1) < 0
    if normals is None:
        face = torch.where(inward[:, None], -face, face)
        normals = torch.nn.functional.normalize(face, dim=-1)[:, None].expand(-1, 3, -1)
    flip = inward[:, None, None]
    return Mesh(
        torch.where(flip, corners.flip(1), corners),
        torch.where(flip, normals.flip(1), normals).contiguous(),
        torch.full((len(corners),), tone),
    )


def _patch(grid: Tensor) -> Tensor:
    """Split a grid of points `(U, V, 3)` into triangles `(2 (U - 1) (V - 1), 3, 3)`."""
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    return torch.cat([torch.stack([a, b, c], 2).flatten(0, 1), torch.stack([a, c, d], 2).flatten(0, 1)])


def _fan(polygon: Tensor) -> Tensor:
    """Split a convex polygon `(P, 3)` into triangles `(P - 2, 3, 3)`."""
    return torch.stack([polygon[:1].expand(len(polygon) - 2, -1), polygon[1:-1], polygon[2:]], 1)


def ellipsoid(centre: Point, radii: Point, tone: float = 1.0, sides: int = 14) -> Mesh:
    """An ellipsoid along the axes."""
    longitude = torch.linspace(0, 2 * pi, sides + 1)[None]
    latitude = torch.linspace(-pi / 2, pi / 2, sides // 2 + 1)[:, None]
    x, y, z = latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin().expand(-1, sides + 1)
    sphere = _patch(torch.stack([x, y, z], -1))
    scale = torch.tensor(radii)
    normals = torch.nn.functional.normalize(sphere / scale, dim=-1)
    return _part(sphere * scale + torch.tensor(centre), normals, tone)


def cylinder(
    start: Point, end: Point, radius: float, end_radius: float | None = None, tone: float = 1.0, sides: int = 12
) -> Mesh:
    """A cylinder, or a frustum where `end_radius` differs from `radius`, from point to point."""
    bottom, top = torch.tensor(start), torch.tensor(end)
    axis = torch.nn.functional.normalize(top - bottom, dim=0)
    across = torch.linalg.cross(axis, torch.eye(3)[axis.abs().argmin()])
    across = torch.nn.functional.normalize(across, dim=0)
    angle = torch.linspace(0, 2 * pi, sides + 1)[:, None]
    ring = angle.cos() * across + angle.sin() * torch.linalg.cross(axis, across)
    rims = torch.stack([bottom + radius * ring, top + (radius if end_radius is None else end_radius) * ring])
    side = _patch(rims)
    caps = torch.cat([_fan(rims[0, :-1]), _fan(rims[1, :-1])])
    cap_normals = torch.cat([-axis.expand(sides - 2, 3, 3), axis.expand(sides - 2, 3, 3)])
    return _part(torch.cat([side, caps]), torch.cat([_patch(ring.expand(2, -1, -1)), cap_normals]), tone)


def prism(polygon: Polygon, axis: int, low: float, high: float, tone: float = 1.0) -> Mesh:
    """A convex polygon, its points in the order of the other two axes, extruded along `axis` from `low` to `high`."""
    rims = torch.empty(2, len(polygon), 3)
    rims[..., [i for i in range(3) if i != axis]] = torch.tensor(polygon)
    rims[0, :, axis], rims[1, :, axis] = low, high
    side = _patch(torch.cat([rims, rims[:, :1]], 1))
    return _part(torch.cat([side, _fan(rims[0]), _fan(rims[1])]), None, tone)


def box(centre: Point, size: Point, tone: float = 1.0) -> Mesh:
    """A box along the axes."""
    (x, y, z), (width, depth, height) = centre, (side / 2 for side in size)
    rectangle = [(x - width, y - depth), (x + width, y - depth), (x + width, y + depth), (x - width, y + depth)]
    return prism(rectangle, 2, z - height, z + height, tone)


def airplane() -> list[Mesh]:
    """A jet: swept wings, engines below them, fin and dark windscreen above."""
    wings = [prism([(0.35, 0), (-0.25, side), (-0.5, side), (-0.25, 0)], 2, -0.08, 0.0, 0.8) for side in (-1.0, 1.0)]
    tail = [prism([(-0.7, 0), (-0.95, side), (-1.1, side), (-1.0, 0)], 2, 0.0, 0.06, 0.8) for side in (-0.4, 0.4)]
    engines = [cylinder((-0.1, y, -0.17), (0.25, y, -0.17), 0.1, tone=0.3) for y in (-0.45, 0.45)]
    fin = prism([(-0.6, 0.1), (-0.95, 0.55), (-1.15, 0.55), (-1.0, 0.1)], 1, -0.04, 0.04, 0.5)
    windscreen = ellipsoid((0.72, 0, 0.09), (0.2, 0.13, 0.12), 0.2)
    return [ellipsoid((0, 0, 0), (1.1, 0.21, 0.21)), windscreen, fin, *wings, *tail, *engines]


def chair() -> list[Mesh]:
    """Four legs, a dark cushion, a back with a gap."""
    legs = [cylinder((x, y, -0.9), (x, y, 0), 0.08, tone=0.6) for x in (-0.42, 0.42) for y in (-0.42, 0.42)]
    posts = [cylinder((-0.42, y, 0), (-0.5, y, 1.1), 0.07) for y in (-0.42, 0.42)]
    back = box((-0.48, 0, 0.85), (0.1, 0.98, 0.5))
    return [box((0, 0, 0), (1.0, 1.0, 0.14)), box((0.04, 0, 0.1), (0.78, 0.8, 0.1), 0.3), back, *legs, *posts]


def dog() -> list[Mesh]:
    """A standing dog, its nose and ears dark, its tail up."""
    legs = [cylinder((x, y, -0.8), (x, y, -0.05), 0.1, 0.14) for x in (-0.45, 0.42) for y in (-0.17, 0.17)]
    ears = [ellipsoid((0.62, y, 0.5), (0.09, 0.06, 0.2), 0.3) for y in (-0.22, 0.22)]
    head = [
        ellipsoid((0.72, 0, 0.48), (0.26, 0.23, 0.23)),
        ellipsoid((0.97, 0, 0.4), (0.2, 0.13, 0.12), 0.8),
        ellipsoid((1.15, 0, 0.44), (0.07, 0.07, 0.06), 0.1),
    ]
    neck = cylinder((0.4, 0, 0.1), (0.68, 0, 0.4), 0.22, 0.18)
    tail = cylinder((-0.6, 0, 0.15), (-0.95, 0, 0.6), 0.1, 0.05, 0.5)
    return [ellipsoid((0, 0, 0.05), (0.7, 0.29, 0.3)), neck, tail, *head, *legs, *ears]


def hammer() -> list[Mesh]:
    """A claw hammer with a dark grip."""
    shaft = cylinder((0, 0, -0.3), (0, 0, 0.7), 0.1, tone=0.8)
    grip = cylinder((0, 0, -1.0), (0, 0, -0.3), 0.16, 0.13, tone=0.25)
    head = [box((0, 0, 0.62), (0.4, 0.36, 0.36)), cylinder((0.2, 0, 0.62), (0.62, 0, 0.62), 0.15, 0.24)]
    claw = prism([(-0.2, 0.8), (-0.5, 0.72), (-0.85, 0.35), (-0.2, 0.48)], 1, -0.16, 0.16)
    return [shaft, grip, claw, *head]


def house() -> list[Mesh]:
    """A cottage: dark gable roof, chimney to one side, door and window in front, a window to the right."""
    walls = box((0, 0, -0.3), (1.5, 1.0, 0.8))
    gable = prism([(-0.5, 0.1), (0.5, 0.1), (0, 0.6)], 0, -0.75, 0.75)
    slopes = [
        prism([(side * 0.62, 0.0), (side * 0.62, 0.1), (0, 0.75), (0, 0.62)], 0, -0.85, 0.85, 0.35) for side in (-1, 1)
    ]
    chimney = box((0.5, 0.2, 0.65), (0.2, 0.2, 0.5), 0.8)
    openings = [
        box((-0.4, -0.5, -0.42), (0.28, 0.06, 0.56), 0.15),
        box((0.3, -0.5, -0.25), (0.4, 0.06, 0.32), 0.15),
        box((0.75, 0, -0.2), (0.06, 0.5, 0.4), 0.15),
    ]
    return [walls, gable, chimney, *openings, *slopes]


def mug() -> list[Mesh]:
    """A mug full of coffee with a band around it, its handle to the right, its label seen when the handle is hidden."""
    bend = [(0.5 + 0.42 * cos(angle), 0.42 * sin(angle)) for angle in (pi * step / 8 for step in range(-4, 5))]
    handle = [cylinder((x, 0, z), (u, 0, w), 0.1, sides=8) for (x, z), (u, w) in pairwise(bend)]
    body = [cylinder((0, 0, -0.7), (0, 0, 0.7), 0.56, 0.6, sides=24)]
    coffee = cylinder((0, 0, 0.6), (0, 0, 0.71), 0.5, tone=0.12, sides=24)
    band = cylinder((0, 0, -0.5), (0, 0, -0.3), 0.585, tone=0.35, sides=24)
    label = prism([(-0.5, -0.38), (-0.2, -0.58), (-0.25, -0.3), (-0.4, -0.2)], 2, -0.05, 0.4, 0.2)
    return [*body, coffee, band, label, *handle]


def sailboat() -> list[Mesh]:
    """A dark hull with its bow to the right, a large sail aft of the mast, a small one before it."""
    hull = prism([(-0.9, -0.8), (0.5, -0.8), (1.0, -0.4), (-1.0, -0.4)], 1, -0.38, 0.38, 0.35)
    deck = box((-0.35, 0, -0.35), (0.7, 0.44, 0.2), 0.8)
    mast = cylinder((0.05, 0, -0.4), (0.05, 0, 1.1), 0.045, tone=0.2)
    mainsail = prism([(0.0, -0.15), (0.0, 1.05), (-0.85, -0.15)], 1, -0.04, 0.04)
    jib = prism([(0.12, -0.25), (0.12, 0.75), (0.85, -0.25)], 1, -0.04, 0.04, 0.65)
    return [hull, deck, mast, mainsail, jib]


def truck() -> list[Mesh]:
    """A lorry: cab with dark windows to the right, a striped load with dark rear doors behind it, four dark wheels."""
    cab = prism([(0.4, -0.4), (1.0, -0.4), (1.0, -0.05), (0.85, 0.3), (0.4, 0.3)], 1, -0.38, 0.38)
    glass = [
        prism([(0.55, -0.02), (0.93, -0.02), (0.82, 0.24), (0.55, 0.24)], 1, -0.4, 0.4, 0.12),
        prism([(0.99, -0.02), (1.01, -0.02), (0.9, 0.24), (0.88, 0.24)], 1, -0.32, 0.32, 0.12),
    ]
    load = [
        box((-0.33, 0, 0.15), (1.3, 0.86, 1.0), 0.75),
        box((-0.33, 0, 0.3), (1.31, 0.88, 0.16), 0.3),
        box((-0.985, 0, 0.1), (0.04, 0.66, 0.76), 0.15),
    ]
    wheels = [
        cylinder((x, y - 0.1, -0.5), (x, y + 0.1, -0.5), 0.25, tone=0.1) for x in (-0.6, 0.62) for y in (-0.36, 0.36)
    ]
    return [cab, box((0, 0, -0.4), (1.9, 0.6, 0.12), 0.3), *glass, *load, *wheels]


_PARTS = (airplane, chair, dog, hammer, house, mug, sailboat, truck)
SHAPES: tuple[str, ...] = tuple(shape.__name__ for shape in _PARTS)


@cache
def shape_meshes() -> tuple[Mesh, ...]:
    """The meshes of `SHAPES`, in that order, each in the unit sphere around the origin and touching it."""
    return tuple(_normalise(join(shape())) for shape in _PARTS)


def _normalise(mesh: Mesh) -> Mesh:
    points = mesh.corners.flatten(0, 1)
    centred = mesh.corners - (points.amin(0) + points.amax(0)) / 2
    return mesh._replace(corners=centred / centred.norm(dim=-1).max())
