"""Batched rendering of the embedded scenes: one shape over a floor, a coloured spotlight and some white ambient light.

The spotlight shades the shape, throws its shadow on the floor and makes a pool of light there. No image depends on the
others of its batch. Points and colours hold the coordinate or channel first: `(3, ...)`; colours are linear RGB.
"""

from __future__ import annotations

from functools import cache
from math import cos, radians, sin
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.data.latent_scenes.meshes import join, shape_meshes
from solo_invariance.data.latent_scenes.rasteriser import (
    Hits,
    coverage,
    nearest_triangles,
    pick,
    ragged_range,
)

_SUPERSAMPLING = 2
_SAMPLES_PER_CHUNK = 2**21  # 128 images of 64 pixels; about 150 MB

_CENTRE_HEIGHT = 1.2  # camera and spotlight point at (0, 0, this); the floor is z = 0
_CAMERA_DISTANCE, _CAMERA_ELEVATION = 7.0, radians(32)
_HALF_WIDTH = 1.6  # of the frame, in scene units at the camera's distance

_LIGHT_DISTANCE, _LIGHT_ELEVATION = 7.0, radians(52)
_CONE_OUTER, _CONE_INNER = radians(18), radians(12)  # from the spotlight's axis, where its light ends, and is full

_AMBIENT, _SPOTLIGHT = 0.22, 0.95
_SPECULAR, _SHININESS = 0.25, 20
_OBJECT_SATURATION, _LIGHT_SATURATION, _FLOOR_SATURATION = 0.85, 0.6, 0.7
_FLOOR_VALUE = 0.38
_GAMMA = 2.2


class Scenes(NamedTuple):
    """What N scenes hold.

    Attributes:
        classes: `(N,)` int64, the shapes.
        positions: `(3, N)`, scene units: to the right, away from the camera, above the floor.
        rotations: `(3, N)` radians, right-handed, about z, y and x; the one about x is applied first.
        light_angles: `(N,)` radians, azimuth of the spotlight: 0 is the camera's side, positive is to the right.
        object_hues: `(N,)` turns of the colour circle: 0 is red, 1/3 green, 2/3 blue.
        light_hues: `(N,)` turns.
        floor_hues: `(N,)` turns.
    """

    classes: Tensor
    positions: Tensor
    rotations: Tensor
    light_angles: Tensor
    object_hues: Tensor
    light_hues: Tensor
    floor_hues: Tensor


class _Lights(NamedTuple):
    """Spotlights: positions `(3, N)`, the unit axes `(3, N)` along which they shine, colours `(3, N)`."""

    positions: Tensor
    axes: Tensor
    colours: Tensor


class _Triangles(NamedTuple):
    """M triangles: corners and unit normals, `(3, 3, M)`, coordinate x corner; tones and images, `(M,)`."""

    corners: Tensor
    normals: Tensor
    tones: Tensor
    image: Tensor


def render_scenes(scenes: Scenes, size: int) -> Tensor:
    """Render scenes to uint8 `(N, 3, size, size)`, so many at a time that memory stays bounded."""
    chunk = max(1, _SAMPLES_PER_CHUNK // (_SUPERSAMPLING * size) ** 2)
    chunks = zip(*(torch.split(field, chunk, dim=-1) for field in scenes), strict=True)
    return torch.cat([_render_chunk(Scenes(*fields), size) for fields in chunks])


def _render_chunk(scenes: Scenes, size: int) -> Tensor:
    frame = (len(scenes.classes), _SUPERSAMPLING * size, _SUPERSAMPLING * size)
    lights, triangles = _lights(scenes), _place(scenes)
    hits = nearest_triangles(_project(triangles.corners, frame[1]), triangles.image, frame)
    shape = lights.colours.new_zeros(3, *frame)
    shape.view(3, -1)[:, hits.pixel] = _shade(scenes, lights, triangles, hits)
    floor = torch.ones(frame, device=shape.device)
    floor.view(-1)[hits.pixel] = 0
    shadow = coverage(_project(_cast_shadows(triangles, lights), frame[1]), triangles.image, frame)
    linear = _downsample(shape) + _floor(scenes, lights, _downsample(floor), _downsample(floor * (1 - shadow)))
    return (255 * linear.clamp(0, 1) ** (1 / _GAMMA)).round().to(torch.uint8).transpose(0, 1).contiguous()


def _downsample(samples: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(samples, _SUPERSAMPLING)


def _lights(scenes: Scenes) -> _Lights:
    across, up = _LIGHT_DISTANCE * cos(_LIGHT_ELEVATION), _LIGHT_DISTANCE * sin(_LIGHT_ELEVATION)
    angle = scenes.light_angles
    offset = torch.stack([across * angle.sin(), -across * angle.cos(), torch.full_like(angle, up)])
    centre = offset.new_tensor([0, 0, _CENTRE_HEIGHT])[:, None]
    return _Lights(centre + offset, -offset / _LIGHT_DISTANCE, _SPOTLIGHT * _rgb(scenes.light_hues, _LIGHT_SATURATION))


def _rgb(hues: Tensor, saturation: float) -> Tensor:
    """Colours `(3, ...)` of hues in turns: HSV at full value."""
    shift = hues.new_tensor([0, 4, 2]).view(3, *[1] * hues.ndim)
    return 1 - saturation + saturation * (((6 * hues + shift) % 6 - 3).abs() - 1).clamp(0, 1)


@cache
def _library(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All shapes in one: points `(3, 6, T)` (corners, then normals), tones `(T,)`, each shape's start and length."""
    meshes = shape_meshes()
    library = join(meshes)
    points = torch.cat([library.corners, library.normals], 1).permute(2, 1, 0).contiguous()
    lengths = torch.tensor([len(mesh.tones) for mesh in meshes])
    return points.to(device), library.tones.to(device), (lengths.cumsum(0) - lengths).to(device), lengths.to(device)


def _place(scenes: Scenes) -> _Triangles:
    """The triangles of every image's shape, turned and moved to where they are in the scene."""
    points, tones, starts, lengths = _library(scenes.classes.device)
    image, step = ragged_range(lengths[scenes.classes])
    source = pick(starts[scenes.classes], image) + step
    placed = pick(points, source)
    for axis, angle in enumerate(pick(scenes.rotations, image).flip(0)):
        placed = _turn(placed, axis, angle)
    corners = placed[:, :3] + pick(scenes.positions, image)[:, None]
    return _Triangles(corners, placed[:, 3:], pick(tones, source), image)


def _turn(points: Tensor, axis: int, angle: Tensor) -> Tensor:
    """Turn points `(3, ..., M)` about an axis by `(M,)` radians, counterclockwise as seen from its positive end."""
    along, first, second = points.roll(-axis, 0)
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([along, cosine * first - sine * second, sine * first + cosine * second]).roll(axis, 0)


def _cast_shadows(triangles: _Triangles, lights: _Lights) -> Tensor:
    """Corners `(3, 3, M)` projected from the spotlight to the floor."""
    light = pick(lights.positions, triangles.image)[:, None]
    ray = triangles.corners - light
    return light - ray * light[2] / ray[2]


def _project(points: Tensor, size: int) -> Tensor:
    """Points `(3, ...)` of the scene on the screen: x, y in pixels from the top left corner, and inverse depth."""
    x, y, z = points
    z = z - _CENTRE_HEIGHT
    inverse_depth = 1 / (_CAMERA_DISTANCE + y * cos(_CAMERA_ELEVATION) - z * sin(_CAMERA_ELEVATION))
    up = y * sin(_CAMERA_ELEVATION) + z * cos(_CAMERA_ELEVATION)
    zoom = inverse_depth * _CAMERA_DISTANCE / _HALF_WIDTH
    return torch.stack([size / 2 * (1 + x * zoom), size / 2 * (1 - up * zoom), inverse_depth])


def _dot(a: Tensor, b: Tensor) -> Tensor:
    # Several times faster than a sum over a first axis of three.
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(vectors: Tensor) -> Tensor:
    return vectors * _dot(vectors, vectors).rsqrt()


def _camera(like: Tensor) -> Tensor:
    height = _CENTRE_HEIGHT + _CAMERA_DISTANCE * sin(_CAMERA_ELEVATION)
    return like.new_tensor([0, -_CAMERA_DISTANCE * cos(_CAMERA_ELEVATION), height])


def _spot(points: Tensor, positions: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions from points `(3, ...)` to their spotlights, and how much of the light's cone reaches them."""
    towards = _unit(positions - points)
    edge = ((-_dot(towards, axes) - cos(_CONE_OUTER)) / (cos(_CONE_INNER) - cos(_CONE_OUTER))).clamp(0, 1)
    return towards, edge * edge * (3 - 2 * edge)


def _shade(scenes: Scenes, lights: _Lights, triangles: _Triangles, hits: Hits) -> Tensor:
    """Colours `(3, P)` of the shapes where they are seen: ambient, diffuse (Lambert) and specular (Blinn) light."""
    triangle, weights = hits.triangle, hits.weights[:, None]
    points = _dot(pick(triangles.corners, triangle).transpose(0, 1), weights)
    normals = _unit(_dot(pick(triangles.normals, triangle).transpose(0, 1), weights))
    image = pick(triangles.image, triangle)
    towards, strength = _spot(points, pick(lights.positions, image), pick(lights.axes, image))
    halfway = _unit(towards + _unit(_camera(points)[:, None] - points))
    diffuse = _dot(normals, towards).clamp(min=0) * strength
    specular = _SPECULAR * _dot(normals, halfway).clamp(min=0) ** _SHININESS * strength
    ambient = _AMBIENT * (1 + 0.4 * normals[2])
    light = pick(lights.colours, image)
    albedo = pick(_rgb(scenes.object_hues, _OBJECT_SATURATION), image) * pick(triangles.tones, triangle)
    return albedo * (ambient + diffuse * light) + specular * light


def _floor(scenes: Scenes, lights: _Lights, seen: Tensor, lit: Tensor) -> Tensor:
    """Colours `(3, N, size, size)` of the floor, given the parts of each pixel where it is seen, and lit besides."""
    points = _floor_points(seen.shape[-1], seen.device)
    towards, strength = _spot(points, lights.positions[..., None, None], lights.axes[..., None, None])
    albedo = _FLOOR_VALUE * _rgb(scenes.floor_hues, _FLOOR_SATURATION)[..., None, None]
    return albedo * (_AMBIENT * seen + lit * strength * towards[2] * lights.colours[..., None, None])


@cache
def _floor_points(size: int, device: torch.device) -> Tensor:
    """Where the camera's rays through the pixels' centres meet the floor, `(3, 1, size, size)`."""
    offset = ((torch.arange(size, device=device) + 0.5) / size * 2 - 1) * _HALF_WIDTH / _CAMERA_DISTANCE
    up, right = torch.meshgrid(-offset, offset, indexing="ij")
    forward = up * sin(_CAMERA_ELEVATION) + cos(_CAMERA_ELEVATION)
    rise = up * cos(_CAMERA_ELEVATION) - sin(_CAMERA_ELEVATION)
    ray = torch.stack([right, forward, rise])
    camera = _camera(ray)[:, None, None]
    return (camera - ray * camera[2] / rise)[:, None]
