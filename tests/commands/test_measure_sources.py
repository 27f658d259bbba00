import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from solo_invariance.backbones import load_backbone
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.measure import DataConfig, ViewKind
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.data.latent_scenes.dataset import VIEW_SETS, LatentScenes
from solo_invariance.errors import UserError
from solo_invariance.measure import Geometry, MeasureSettings, measure
from solo_invariance.measure.sources import VIEW_KINDS, measured_data

# A layer without a rectifier: none of its 16 features is constant, as the paper's protocol requires.
_LAYER = "layer2.0.bn2"


def _write(path: Path, seed: int, size: tuple[int, int] = (32, 32)) -> None:
    """Write an image of smooth noise: views of one seed's thing are neither alike nor unrelated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    thing, view = np.random.default_rng(seed // 100), np.random.default_rng(seed)
    pixels = thing.integers(0, 256, (4, 4, 3)) * 0.7 + view.integers(0, 256, (4, 4, 3)) * 0.3
    Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).save(path)


@pytest.fixture(scope="module")
def coil100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of its objects, as they are published."""
    root = tmp_path_factory.mktemp("coil-100")
    for thing in (3, 12):
        for view in range(72):
            _write(root / f"obj{thing}__{5 * view}.png", 100 * thing + view)
    return root


_FOLDERS = {"cup": 5, "bowl": 2, "a jug": 3}


@pytest.fixture(scope="module")
def view_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Groups of unequal numbers of views, of unequal sizes, and 30 more groups of two that fill up the statistics."""
    root = tmp_path_factory.mktemp("views")
    for thing, (name, count) in enumerate((_FOLDERS | {f"other {index}": 2 for index in range(30)}).items()):
        for view in range(count):
            size = (40, 32) if view % 2 else (32, 48)
            _write(root / name / f"{view}.png", 100 * thing + view, size)
    return root


def _arguments(checkpoint: Path, root: Path, name: str, out: Path, *more: str) -> list[str]:
    return [
        "measure",
        f"backbone.checkpoint={checkpoint}",
        f"backbone.layer={_LAYER}",
        f"data.name={name}",
        f"data.path={root}",
        "device=cpu",
        f"out={out}",
        *more,
    ]


def _loaded(path: Path, resize: int) -> torch.Tensor:
    """An image with its short side resized and its centre cut out, 32 pixels square, by Pillow."""
    with Image.open(path) as image:
        short = min(image.size)
        size = [int(resize * side / short) for side in image.size]
        resized = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BILINEAR)
    left, top = (round((side - 32) / 2) for side in resized.size)  # as torchvision rounds
    pixels = np.asarray(resized.crop((left, top, left + 32, top + 32)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _by_hand(checkpoint: Path, groups: Sequence[Sequence[Path]], protocol: str) -> dict[str, np.ndarray]:
    """The numbers of each group, from features whitened by an inverse in NumPy."""
    backbone = load_backbone(BackboneConfig(str(checkpoint), layer=_LAYER))
    everything = [path for group in groups for path in group]
    with torch.inference_mode():
        reference = backbone(torch.stack([_loaded(path, 37) for path in everything])).double().numpy()
        views = backbone(torch.stack([_loaded(path, 32) for path in everything])).double().numpy()
    features = dict(zip(everything, views, strict=True))
    covariance = np.cov(reference.T)
    found: dict[str, list[float]] = {"with_diagonal": [], "without_diagonal": [], "distance": []}
    for group in groups:
        mean = reference.mean(axis=0)
        if protocol == "clean":  # without the group's own images
            others = reference[[path not in group for path in everything]]
            mean, variances = others.mean(axis=0), np.cov(reference.T).diagonal()
            diagonal = np.maximum(variances, 0.001 * variances.mean()) * (len(reference) - 1) / (len(others) - 1)
            covariance = 0.999 * np.cov(others.T) + 0.001 * np.diag(diagonal)
            pooled, floor = np.cov(reference.T), np.maximum(variances, 0.001 * variances.mean())
            freedom = np.trace(np.linalg.inv(0.999 * pooled + 0.001 * np.diag(floor)) @ (0.999 * pooled))
            covariance /= 1 - freedom / (len(others) - 1)
        z = np.stack([features[path] - mean for path in group]) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
        unit = z / np.linalg.norm(z, axis=1, keepdims=True)
        cosines, others = unit @ unit.T, ~np.eye(len(z), dtype=bool)
        distances = np.linalg.norm(z[:, None] - z[None], axis=-1)
        found["with_diagonal"].append(cosines.mean())
        found["without_diagonal"].append(cosines[others].mean())
        found["distance"].append(distances[others].mean())
    return {name: np.asarray(numbers) for name, numbers in found.items()}


def _check(entry: Mapping, arrays: Mapping, expected: Mapping[str, np.ndarray], protocol: str) -> None:
    for name in ("with_diagonal", "without_diagonal"):
        found = arrays[f"similarity_{name}_per_image"][:, 0]
        np.testing.assert_allclose(found, expected[name], atol=1e-3)
        assert entry[f"similarity_{name}"]["mean"] == pytest.approx(expected[name].mean(), abs=1e-3)
    stated = expected["with_diagonal" if protocol == "paper" else "without_diagonal"]
    assert entry["similarity"]["mean"] == pytest.approx(stated.mean(), abs=1e-3)
    np.testing.assert_allclose(arrays["distance_per_image"][:, 0], expected["distance"], rtol=1e-3)


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_coil100_as_it_is_published_against_numpy(cli, host_checkpoint, coil100, tmp_path: Path, protocol: str) -> None:
    checkpoint, out = host_checkpoint(), tmp_path / "out"
    more = [f"protocol={protocol}"] + ([f"reference.path={coil100}"] if protocol == "paper" else [])
    code, printed, err = cli(*_arguments(checkpoint, coil100, "coil100", out, *more))
    assert code == 0, err
    result = json.loads((out / "invariance.json").read_text())
    assert result["transforms"] == {}  # unless they are asked for
    assert list(result["views"]) == ["coil100"]
    entry = result["views"]["coil100"]
    assert (entry["kind"], entry["num_groups"], entry["num_views"]) == ("spatial", 2, 72)
    groups = [[coil100 / f"obj{thing}__{5 * view}.png" for view in range(72)] for thing in (3, 12)]
    with np.load(out / "coil100.npz") as arrays:
        sizes = [sum(path.stat().st_size for path in coil100.glob(f"{name}__*")) for name in ("obj3", "obj12")]
        assert arrays["names"].tolist() == [f"obj3 ({sizes[0]} bytes)", f"obj12 ({sizes[1]} bytes)"]
        _check(entry, arrays, _by_hand(checkpoint, groups, protocol), protocol)
    assert result["reference"]["num_images"] == 144
    assert "coil100" in printed


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_view_folders_of_unequal_sizes_against_numpy(
    cli, host_checkpoint, view_folders, tmp_path: Path, protocol: str
) -> None:
    checkpoint, out = host_checkpoint(), tmp_path / "out"
    more = [f"protocol={protocol}"] + ([f"reference.path={view_folders}"] if protocol == "paper" else [])
    code, _, err = cli(*_arguments(checkpoint, view_folders, "view_folders", out, *more))
    assert code == 0, err
    entry = json.loads((out / "invariance.json").read_text())["views"]["view_folders"]
    assert (entry["kind"], entry["num_groups"], entry["num_views"]) == ("spatial", 33, 5)
    with np.load(out / "view_folders.npz") as arrays:
        names = [name.rpartition(" (")[0] for name in arrays["names"].tolist()]
        assert {*_FOLDERS} < {*names}
        groups = [sorted((view_folders / name).glob("*.png")) for name in names]
        _check(entry, arrays, _by_hand(checkpoint, groups, protocol), protocol)


def test_transforms_are_measured_on_a_view_sets_views_where_they_are_asked_for(
    cli, host_checkpoint, view_folders, tmp_path: Path
) -> None:
    arguments = _arguments(
        host_checkpoint(), view_folders, "view_folders", tmp_path / "out", "k=4", "data.kind=appearance"
    )
    assert cli(*arguments, "transforms=[hue]")[0] == 0
    result = json.loads((tmp_path / "out" / "invariance.json").read_text())
    assert result["transforms"]["hue"]["num_images"] == 10 + 60
    assert result["views"]["view_folders"]["kind"] == "appearance"
    # Without the views, the transforms remain.
    assert cli(*arguments, "transforms=[hue,h_flip]", "views=[]")[0] == 0
    result = json.loads((tmp_path / "out" / "invariance.json").read_text())
    assert (list(result["transforms"]), result["views"]) == (["hue", "h_flip"], {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.name=coil100", "data.path={views}"], "not laid out as coil100; expected objN__ANGLE.png"),
        (["data.name=view_folders", "data.path={views}/cup"], "not laid out as view_folders; expected GROUP/VIEW.png"),
        (["data.name=view_folders", "data.path={views}/cup"], "did you mean {views}?"),
        (["data.name=coil100", "data.path={views}/nowhere"], "nowhere: no such folder of views"),
        (["data.name=coil100"], "data.name=coil100: set data.path to the folder that the view set is in"),
        (
            ["data.name=coil10", "data.path={views}"],
            "data.name=coil10: choose the embedded latent_scenes, or a view set",
        ),
        (
            ["data.name=view_folders", "data.path={views}", "views=[pose]"],
            "views: there is no 'pose'; choose from view_folders",
        ),
        (["data.name=view_folders", "data.path={views}", "views=[]"], "transforms and views are both empty"),
        (["data.name=latent_scenes", "data.path={views}"], "one of them"),
        (["k=4"], "data: set data.path=FOLDER or data.name=latent_scenes"),
        (["data.name=latent_scenes", "reference.name=scenes"], "reference.name=scenes: latent_scenes is the only one"),
        (
            ["data.name=latent_scenes", "reference.name=latent_scenes", "reference.path={views}"],
            "reference.path and reference.name are both set: choose one",
        ),
        (["data.name=latent_scenes", "reference.num_images=9"], "reference.num_images=9: of what? Set reference.name="),
        (
            ["data.name=latent_scenes", "reference.name=latent_scenes", "reference.size=8"],
            "reference.size=8: expected",
        ),
    ],
)
def test_folders_and_names_that_do_not_fit(
    cli, host_checkpoint, view_folders, tmp_path: Path, arguments, message
) -> None:
    given = [argument.format(views=view_folders) for argument in arguments]
    code, _, err = cli("measure", f"backbone.checkpoint={host_checkpoint()}", f"out={tmp_path / 'out'}", *given)
    assert code == 2
    assert message.format(views=view_folders) in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


# What a configuration names


def _data(views: list[str] | None = None, **data):
    return measured_data(DataConfig(**data), Geometry(37, 32), views)


def test_a_folder_has_images_and_no_views(photo_folder: Path) -> None:
    found = _data(path=str(photo_folder))
    assert isinstance(found.images, ImageFiles)
    assert (len(found.images), found.images.resize, found.views, found.for_views) == (72, 37, (), False)


def test_the_embedded_data_has_images_and_view_groups_of_the_sizes_asked_for() -> None:
    found = _data(name="latent_scenes", num_images=6, size=20, num_groups=3, num_views=4, seed=5)
    assert isinstance(found.images, TensorImages)
    assert len(found.images) == 6
    assert {tuple(found.images[index].shape) for index in range(6)} == {(3, 37, 37)}
    assert found.views == tuple(VIEW_SETS) == tuple(VIEW_KINDS)
    for name in found.views:
        groups = found.view_groups(name)
        assert groups.kind == VIEW_KINDS[name]
        assert [group.images for group in groups.groups] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
        assert tuple(groups.source[11].shape) == (3, 32, 32)
        assert groups.source.name_of(11) == f"{name} view 11"
    assert _data(name="latent_scenes", num_images=6, size=20, views=["light_hue"]).views == ("light_hue",)
    again = _data(name="latent_scenes", num_images=6, size=20, seed=5)
    assert torch.equal(again.images[3], found.images[3])
    assert not torch.equal(_data(name="latent_scenes", num_images=6, size=20, seed=6).images[3], found.images[3])


def test_a_reference_is_rendered_apart_from_what_is_measured(cli, host_checkpoint, tmp_path: Path) -> None:
    """As many as are asked for, others by the seed, and the numbers are those of the same images from Python."""
    checkpoint, sizes = host_checkpoint(), {"num_images": 20, "size": 32, "num_groups": 3, "num_views": 2}
    data = ["data.name=latent_scenes", *(f"data.{key}={value}" for key, value in sizes.items())]
    rest = [*data, "transforms=[hue]", "views=[light_hue]", "k=3", "num_images=6", "device=cpu"]

    def measured(*arguments: str) -> dict[str, Any]:
        out = tmp_path / str(len([*tmp_path.iterdir()]))
        code, _, err = cli("measure", f"backbone.checkpoint={checkpoint}", *rest, *arguments, f"out={out}")
        assert code == 0, err
        return json.loads((out / "invariance.json").read_text())

    others = measured("reference.name=latent_scenes", "reference.num_images=90", "reference.size=32")
    assert others["reference"]["num_images"] == 90
    assert measured()["reference"]["num_images"] == 20
    images = LatentScenes(90, size=32, seed=1_000_001).images
    settings = MeasureSettings(k=3, num_images=6)
    config = DataConfig(name="latent_scenes", **sizes)
    by_hand = measure(checkpoint, config, ["hue"], settings, reference=images, views=["light_hue"], device="cpu").only
    for kind in ("transforms", "views"):
        ((name, entry),) = others[kind].items()
        found = getattr(by_hand, kind)[name].similarity.mean
        assert entry["similarity"]["mean"] == pytest.approx(found, abs=1e-6)
    seed = measured("reference.name=latent_scenes", "reference.num_images=90", "reference.size=32", "reference.seed=7")
    assert seed["reference"]["fingerprint"] != others["reference"]["fingerprint"]


def test_so_many_of_a_folder_are_the_reference(cli, host_checkpoint, photo_folder: Path, tmp_path: Path) -> None:
    code, _, err = cli(
        *("measure", f"backbone.checkpoint={host_checkpoint()}", "data.name=latent_scenes", "data.num_images=8"),
        *("views=[]", "transforms=[hue]", "k=2", "num_images=4", "device=cpu"),
        *(f"reference.path={photo_folder}", "reference.num_images=40", f"out={tmp_path / 'out'}"),
    )
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "invariance.json").read_text())["reference"]["num_images"] == 40


def test_a_view_sets_groups_name_their_own_files(view_folders: Path) -> None:
    found = _data(name="view_folders", path=str(view_folders), kind=ViewKind.appearance)
    groups = found.view_groups("view_folders")
    assert groups.kind == "appearance"
    assert len(found.images) == len(groups.source) == 70
    for group in groups.groups:
        folders = {Path(groups.source.name_of(index)).parent.name for index in group.images}
        assert folders == {group.name.rpartition(" (")[0]}
        assert {min(groups.source[index].shape[1:]) for index in group.images} == {32}
    assert min(found.images[0].shape[1:]) == 37


def test_no_name_and_no_path_is_refused() -> None:
    with pytest.raises(UserError, match=r"^data: set data\.path=FOLDER or data\.name=latent_scenes$"):
        _data()


def test_the_paper_whitens_views_by_other_images(cli, host_checkpoint, coil100, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, err = cli(*_arguments(host_checkpoint(), coil100, "coil100", out, "protocol=paper"))
    assert code == 2
    assert "set reference.path to a folder of them" in err
    assert not out.exists()


def test_links_and_what_systems_leave_behind_are_the_same_to_every_command(
    cli, tmp_path: Path, photo_folder: Path, host_checkpoint
) -> None:
    """Two classes of links, of which one has a link that leads back, and hidden pictures: eight images to all."""
    root, checkpoint = tmp_path / "subset", host_checkpoint()
    root.mkdir()
    (root / "coffee").symlink_to(photo_folder / "val" / "coffee")
    shutil.copytree(photo_folder / "val" / "rocket", root / "rocket")
    (root / "rocket" / "up").symlink_to("..")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        shutil.copytree(photo_folder / "val" / "retina", root / name)
        shutil.copytree(photo_folder / "val" / "retina", root / "rocket" / name)
    shutil.copy(photo_folder / "val" / "retina" / "0.jpg", root / "rocket" / "._0.jpg")
    (root / "Thumbs.db").touch()
    common = [f"backbone.checkpoint={checkpoint}", "device=cpu"]
    code, _, err = cli("measure", *common, f"data.path={root}", "k=2", "transforms=[hue]", f"out={tmp_path / 'm'}")
    assert code == 0, err
    assert json.loads((tmp_path / "m" / "invariance.json").read_text())["reference"]["num_images"] == 8
    code, _, err = cli("transfer", *common, "task.name=folder", f"task.path={root}", "folds=2", f"out={tmp_path / 't'}")
    assert code == 0, err
    result = json.loads((tmp_path / "t" / "transfer.json").read_text())
    assert result["num_train"] + result["num_test"] == 8
    sheet = tmp_path / "sheet.png"
    code, _, err = cli(
        "families", "show=[identity]", f"data.path={root}", "crop_size=32", "num_images=99", "draws=1", f"out={sheet}"
    )
    assert code == 0, err
    with Image.open(sheet) as drawn:
        assert drawn.height == 26 + 8 * 35 + 12


def test_otherwise_decoded_pictures_are_another_run(
    cli, tmp_path: Path, photo_folder: Path, host_checkpoint, monkeypatch
) -> None:
    arguments = [
        *("measure", f"backbone.checkpoint={host_checkpoint()}", "device=cpu"),
        *(f"data.path={photo_folder / 'val'}", "k=2", "transforms=[hue]", f"out={tmp_path / 'out'}"),
    ]
    assert cli(*arguments)[0] == 0
    monkeypatch.setattr("solo_invariance.measure.record.DECODING", 1)
    code, _, err = cli(*arguments)
    assert code == 2
    assert "holds results of another run (decoding: 2 there, 1 now)" in err
