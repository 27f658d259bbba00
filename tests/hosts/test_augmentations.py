from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose as compose_config
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from solo_invariance.errors import UserError
from solo_invariance.families import CropPipeline, compose, corruption, dorsal, ventral
from solo_invariance.hosts.augmentations import crop_pipeline_from_config

CONFIGS = Path(__file__).parents[2] / "plugin_configs" / "augmentations" / "invariance"
NAMED = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("family", "views"))
# What solo-learn's own pipeline reads of an entry, whatever the family.
HOST_KEYS = {
    "rrc",
    "color_jitter",
    "grayscale",
    "gaussian_blur",
    "solarization",
    "equalization",
    "horizontal_flip",
    "crop_size",
    "num_crops",
}


@pytest.fixture
def compose_run(tmp_path: Path, in_solo_learn: Any):
    """Compose a run's configuration as Hydra does for a host's script that knows nothing of us."""
    (tmp_path / "run.yaml").write_text("data: {dataset: cifar10, format: image_folder}\nseed: 1\n")

    def run(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(tmp_path), version_base="1.2"):
            return compose_config("run", list(overrides))

    return run


def entries(**changes: Any) -> DictConfig:
    entry = {"family": "ventral", "crop_size": 32, "num_crops": 2, **changes}
    return OmegaConf.create({"data": {"dataset": "cifar10"}, "augmentations": [entry]})


def family_of(cfg: DictConfig, index: int = 0):
    return crop_pipeline_from_config(cfg)[0].entries[index].family


@pytest.mark.parametrize("name", NAMED)
def test_every_configuration_of_ours_makes_a_pipeline(name: str, compose_run) -> None:
    cfg = compose_run(f"+augmentations=invariance/{name}")
    pipeline, canvas = crop_pipeline_from_config(cfg)
    assert canvas.size == 32
    crops = pipeline(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), (0, 0, 0, 0))
    assert len(crops) == (8 if name == "multicrop" else 2)
    for entry in cfg.augmentations:
        assert set(entry) >= HOST_KEYS
        assert not entry.rrc.enabled
        operations = ("color_jitter", "grayscale", "gaussian_blur", "solarization", "equalization", "horizontal_flip")
        assert all(entry[operation].prob == 0 for operation in operations)


def test_the_configurations_of_single_families_differ_in_the_family_alone() -> None:
    contents = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS.glob("*.yaml")}
    reference = contents["default"][0]
    for name, (first, *rest) in contents.items():
        if name in ("byol", "multicrop", "views", "family"):
            continue
        assert not rest
        assert first == {**reference, "family": name}


def test_numbers_from_the_command_line(compose_run) -> None:
    family = family_of(compose_run("+augmentations=invariance/dorsal", "+invariance.operations.color_jitter.hue=0.2"))
    assert family.operations[0].numbers["hue"] == 0.2
    cfg = compose_run("+augmentations=invariance/byol", "+augmentations.1.operations.solarize.p=0.9")
    assert family_of(cfg, 0).operations[-1].numbers["p"] == 0
    assert family_of(cfg, 1).operations[-1].numbers["p"] == 0.9


def test_the_canvas_shows_the_whole_image_unless_it_is_told_otherwise(compose_run) -> None:
    for name in (*NAMED, "family", "views"):
        chosen = {"family": ["+invariance.family=dorsal"], "views": ["+invariance.views=[ventral,dorsal]"]}.get(
            name, []
        )
        whole = compose_run(f"+augmentations=invariance/{name}", *chosen)
        assert crop_pipeline_from_config(whole)[1].whole
        centre = compose_run(f"+augmentations=invariance/{name}", *chosen, "+invariance.canvas=centre")
        assert not crop_pipeline_from_config(centre)[1].whole
    two = OmegaConf.create([{**entries().augmentations[0], "canvas": kept} for kept in ("whole", "centre")])
    with pytest.raises(UserError, match=r"augmentations\[\*\]\.canvas: all entries share one canvas"):
        crop_pipeline_from_config(OmegaConf.create({"data": {"dataset": "cifar10"}, "augmentations": two}))


def test_families_are_composed(compose_run) -> None:
    expected = compose([ventral, corruption])
    assert (
        family_of(compose_run("+augmentations=invariance/family", "+invariance.family=[ventral,corruption]"))
        == expected
    )
    assert family_of(entries(family=["ventral", "corruption"])) == expected
    cfg = OmegaConf.create(
        {
            "data": {"dataset": "cifar10"},
            "augmentations": [{"families": ["ventral", "corruption"], "crop_size": 32, "num_crops": 2}],
        }
    )
    assert family_of(cfg) == expected


def test_two_views_of_two_families(compose_run) -> None:
    cfg = compose_run("+augmentations=invariance/views", "+invariance.views=[dorsal,[ventral,corruption]]")
    pipeline, _ = crop_pipeline_from_config(cfg)
    assert [entry.family for entry in pipeline.entries] == [dorsal, compose([ventral, corruption])]
    assert [entry.num_crops for entry in pipeline.entries] == [1, 1]
    assert "1 x dorsal@32" in pipeline.fingerprint()
    assert "1 x ventral+corruption@32" in pipeline.fingerprint()


def test_multi_crop_of_any_family_that_crops(compose_run) -> None:
    def sizes(pipeline: CropPipeline) -> list[tuple[int, int]]:
        return [(entry.crop_size, entry.num_crops) for entry in pipeline.entries]

    pipeline, canvas = crop_pipeline_from_config(compose_run("+augmentations=invariance/multicrop"))
    assert sizes(pipeline) == [(32, 2), (18, 6)]
    assert [entry.family.operations[0].numbers["scale"] for entry in pipeline.entries] == [[0.25, 1.0], [0.05, 0.25]]
    assert canvas.size == 32
    large = compose_run("+augmentations=invariance/multicrop", "data.dataset=imagenet", "augmentations.1.num_crops=4")
    pipeline, canvas = crop_pipeline_from_config(large)
    assert sizes(pipeline) == [(224, 2), (96, 4)]
    assert canvas.size == 256
    chosen = compose_run(
        "+augmentations=invariance/multicrop", "+invariance.family=ventral", "+invariance.small_crop_size=16"
    )
    pipeline, _ = crop_pipeline_from_config(chosen)
    assert [entry.family.name for entry in pipeline.entries] == ["ventral", "ventral"]
    assert sizes(pipeline)[1] == (16, 6)
    with pytest.raises(UserError, match=r"augmentations\[0\]\.operations\.resized_crop: dorsal has no such operation"):
        crop_pipeline_from_config(compose_run("+augmentations=invariance/multicrop", "+invariance.family=dorsal"))


def test_a_family_written_out(compose_run) -> None:
    family = {"name": "tilt", "invariant_to": "slant", "operations": ["grayscale", {"rotation": {"degrees": [-5, 5]}}]}
    built = family_of(entries(family=family))
    assert (built.name, built.invariant_to) == ("tilt", "slant")
    assert [operation.name for operation in built.operations] == ["grayscale", "rotation"]
    changed = family_of(entries(family=["ventral", family], operations={"rotation": {"degrees": 3}}))
    assert changed.name == "ventral+tilt"
    assert changed.operations[-1].numbers["degrees"] == [3, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "venral"}, "did you mean 'ventral'"),
        ({"family": []}, r"augmentations\[0\]\.family=\[\]: expected at least one"),
        ({"canvas": "half"}, r"augmentations\[\*\]\.canvas=half: choose from whole, centre"),
        ({"family": None}, r"augmentations\[0\]\.family is missing"),
        ({"families": ["dorsal"]}, r"augmentations\[0\]: family and families say the same thing"),
        ({"operations": {"grayscale": {"p": 0.5}}}, r"augmentations\[0\]\.operations\.grayscale: ventral has no such"),
        ({"operations": {"horizontal_flip": {"p": 1.5}}}, r"operations\.horizontal_flip\.p=1\.5: expected a probab"),
        ({"operations": {"resized_crop": {"scale": [1.0, 0.2]}}}, r"resized_crop\.scale=\[1, 0\.2\]: .* upside down"),
        ({"operations": ["grayscale"]}, r"augmentations\[0\]\.operations=.*: expected numbers by operation"),
        ({"family": {"operations": ["turn"]}}, r"augmentations\[0\]\.family\.operations\[0\]: there is no operation"),
        ({"family": {"operations": [{"grayscale": {"p": 2}}]}}, r"family\.operations\[0\]\.grayscale\.p=2: expected"),
        ({"family": {"name": "x"}}, r"augmentations\[0\]\.family\.operations=None: expected a list"),
        ({"family": {"op": []}}, r"augmentations\[0\]\.family\.op: a family written out has name"),
        ({"crop_size": "${nowhere}"}, r"augmentations: Interpolation key 'nowhere' not found"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        crop_pipeline_from_config(entries(**changes))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["default", "+invariance.family=ventral"],
            r"invariance\.family=ventral: the chosen augmentations do not read",
        ),
        (["default", "+invariance.views=[ventral,dorsal]"], r"invariance\.views=.*: the chosen augmentations do not"),
        (["byol", "+invariance.operations.color_jitter.hue=0.2"], r"invariance\.operations=.* do not read this key"),
        (["multicrop", "+invariance.operations.color_jitter.hue=0.2"], r"invariance\.operations=.* do not read"),
        (["default", "+invariance.small_crop_size=8"], r"invariance\.small_crop_size=8: the chosen"),
        (["default", "+invariance.crop_sise=32"], r"invariance\.crop_sise: there is no such key; did you mean 'crop_s"),
        (["default", "+invariance.crop_size=0"], r"augmentations\[0\]\.crop_size=0: expected a positive"),
        (["multicrop", "+invariance.family=[]"], r"family=\[\]: expected at least one family"),
        (["views", "+invariance.views=[default,ventral,dorsal]"], r"invariance\.views=.*: expected two families"),
        (["default", "+augmentations.0.opertions.grayscale.p=1"], r"augmentations\[0\]\.opertions: .* 'operations'"),
    ],
)
def test_keys_that_would_change_nothing_are_refused(overrides: list[str], message: str, compose_run) -> None:
    with pytest.raises(UserError, match=message):
        crop_pipeline_from_config(compose_run(f"+augmentations=invariance/{overrides[0]}", *overrides[1:]))


def test_keys_of_others_pass(compose_run) -> None:
    cfg = compose_run("+augmentations=invariance/default", "+invariance.something_else=3", "+augmentations.0.note=x")
    assert crop_pipeline_from_config(cfg)[0].entries
    # Resolved in place the first time: read again, it is the same.
    assert crop_pipeline_from_config(cfg)[0] == crop_pipeline_from_config(cfg)[0]


def test_crops_are_normalised_as_solo_learn_does() -> None:
    def statistics(dataset: str, *entry_statistics: dict[str, Any]):
        entry = {"family": "ventral", "crop_size": 32, "num_crops": 1}
        cfg = {"data": {"dataset": dataset}, "augmentations": [{**entry, **extra} for extra in entry_statistics]}
        pipeline, _ = crop_pipeline_from_config(OmegaConf.create(cfg))
        return pipeline.mean, pipeline.std

    own = {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3]}
    assert statistics("custom", own, own) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert statistics("custom", {}) == statistics("imagenet", own)
    assert statistics("cifar10", own)[0][0] == 0.4914
    for wrong, message in (
        (({"std": [0, 0, 0]},), r"std=\[0\.0, 0\.0, 0\.0\]: expected numbers above 0"),
        (({"mean": [0.5]},), r"mean=\[0\.5\]: expected three numbers"),
        (({"mean": "abc"},), r"mean=abc: expected three numbers"),
        ((own, {}), r"augmentations\[\*\]\.mean: all crops are normalised alike"),
    ):
        with pytest.raises(UserError, match=message):
            statistics("custom", *wrong)


def test_missing_keys_of_ours_are_named(compose_run) -> None:
    with pytest.raises(UserError, match=r"augmentations: 'invariance\.family' is missing.* add \+invariance\.family="):
        crop_pipeline_from_config(compose_run("+augmentations=invariance/family"))
    with pytest.raises(UserError, match=r"augmentations: 'invariance\.views' is missing.* add \+invariance\.views="):
        crop_pipeline_from_config(compose_run("+augmentations=invariance/views"))
