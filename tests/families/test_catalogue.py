import pytest
import torch
import yaml

from solo_invariance.families import (
    OPERATIONS,
    ColorJitter,
    Family,
    Grayscale,
    Rotation,
    build_family,
    compose,
    corruption,
    default,
    dorsal,
    geometric,
    identity,
    occlusion,
    photometric,
    strong_dorsal,
    ventral,
    with_operations,
)

BUILT_IN = [default, ventral, dorsal, geometric, photometric, occlusion, corruption, strong_dorsal, identity]


@pytest.mark.parametrize("family", BUILT_IN, ids=lambda family: family.name)
def test_a_family_survives_yaml(family: Family) -> None:
    written = yaml.safe_dump(family.describe())
    again = build_family(**yaml.safe_load(written))
    assert again == family
    assert again.fingerprint() == family.fingerprint()


def test_operations_are_found_by_their_names() -> None:
    assert {"resized_crop", "color_jitter", "jpeg", "gaussian_noise", "smooth_shadow"} <= set(OPERATIONS)
    for name, kind in OPERATIONS.items():
        assert kind().name == name


def test_an_operation_needs_only_its_name_and_the_numbers_that_differ() -> None:
    family = build_family("mine", ["grayscale", {"rotation": {"degrees": 15}}, {"color_jitter": None}])
    assert family.operations == (Grayscale(), Rotation(degrees=(15, 15)), ColorJitter())


def test_numbers_are_changed_in_every_operation_of_that_name() -> None:
    twice = compose([dorsal, ventral, dorsal])
    changed = with_operations(twice, {"grayscale": {"p": 0.9}, "resized_crop": {"scale": [0.5, 0.6]}})
    assert [o.numbers["p"] for o in changed.operations if o.name == "grayscale"] == [0.9, 0.9]
    assert with_operations(ventral, {"resized_crop": {"scale": [0.5, 0.6]}}).fingerprint() != ventral.fingerprint()
    assert with_operations(ventral, {}) == ventral


def test_composing_joins_operations_in_order() -> None:
    both = compose([ventral, corruption])
    assert both.name == "ventral+corruption"
    assert both.operations == ventral.operations + corruption.operations
    assert compose([ventral]) is ventral
    one = both.draw(4, torch.Generator().manual_seed(0))
    assert len(one) == 5


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (["grayscal"], r"\[0\]: there is no operation 'grayscal'; did you mean 'grayscale'"),
        (["grayscale", {"rotation": {"degree": 3}}], r"\[1\]\.rotation\.degree: there is no such number; rotation has"),
        ([{"grayscale": {"p": 1.5}}], r"\[0\]\.grayscale\.p=1\.5: expected a probability"),
        ([{"grayscale": {"p": "often"}}], r"\[0\]\.grayscale\.p=often: expected a number"),
        ([{"grayscale": {"p": None}}], r"\[0\]\.grayscale\.p=None: expected a number"),
        ([{"grayscale": {"p": [0.1, 0.2]}}], r"\[0\]\.grayscale\.p=\[0\.1, 0\.2\]: expected a number"),
        ([{"grayscale": 0.5}], r"\[0\]\.grayscale=0\.5: expected numbers by name"),
        ([{"rotation": {"degrees": [1, 2, 3]}}], r"\[0\]\.rotation\.degrees=.*: expected a range \[from, to\]"),
        ([{"rotation": {"degrees": [2, 1]}}], "upside down"),
        ([{"rotation": {}, "grayscale": {}}], r"\[0\]: expected an operation's name"),
        ([3], r"\[0\]: expected an operation's name"),
    ],
)
def test_what_cannot_be_built_is_named(operations, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_family("mine", operations)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grayscale": {"p": 0.5}}, r"grayscale: ventral has no such operation; known: resized_crop, horizontal_flip"),
        ({"resized_crops": {}}, "did you mean 'resized_crop'"),
        (
            {"resized_crop": {"scales": 1}},
            r"resized_crop\.scales: there is no such number; resized_crop has scale, ratio",
        ),
        ({"resized_crop": {"scale": [0.5, 1.5]}}, r"resized_crop\.scale=\[0\.5, 1\.5\]: .* ends at or below 1"),
        ({"resized_crop": 3}, r"resized_crop=3: expected numbers by name"),
    ],
)
def test_what_cannot_be_changed_is_named(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_operations(ventral, changes)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_number_of_ours_has_a_unit(name: str) -> None:
    operation = OPERATIONS[name]()
    assert operation.units.keys() == operation.numbers.keys()
    assert set(operation.units_of_numbers) <= operation.numbers.keys()
    assert all(operation.units.values())


def test_a_summary_has_every_number() -> None:
    assert default.summary() == (
        "resized_crop scale 0.2 to 1, ratio 0.75 to 1.33; "
        "color_jitter brightness 0.4, contrast 0.4, saturation 0.4, hue 0.1 turns, p 0.8; grayscale p 0.2; "
        "gaussian_blur sigma 0.1 to 2 pixels, p 0.5; horizontal_flip p 0.5"
    )
    solarized = build_family("x", [{"solarize": {"threshold": 0.25}}, "centre_crop"])
    assert solarized.summary() == "solarize threshold 0.25, p 0.2; centre_crop"
    assert Family("still", ()).summary() == "nothing"
