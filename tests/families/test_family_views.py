"""Views of a batch, drawn and made by a module in anybody's training loop."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import normalize

from solo_invariance.errors import UserError
from solo_invariance.families import (
    CanvasImage,
    CropEntry,
    FamilyViews,
    ResizedCrop,
    build_family,
    default,
    identity,
    sizes_of,
    ventral,
)
from solo_invariance.known_datasets import IMAGENET

IMAGES = torch.randint(0, 256, (6, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def test_views_are_the_families_of_what_was_drawn() -> None:
    """Checked by the family's own two functions, one view at a time."""
    views = FamilyViews([CropEntry(default, 32, 2), CropEntry(ventral, 16, 3)])
    before = IMAGES.clone()
    drawn = views.draw(6)
    made = views.apply(IMAGES, drawn)
    assert [tuple(view.shape) for view in made] == [(6, 3, 32, 32)] * 2 + [(6, 3, 16, 16)] * 3
    for view, parameters, family, size in zip(
        made, drawn, [default] * 2 + [ventral] * 3, [32] * 2 + [16] * 3, strict=True
    ):
        expected = normalize(family.apply(IMAGES, parameters, size), list(IMAGENET[0]), list(IMAGENET[1]))
        torch.testing.assert_close(view, expected)
    assert not torch.equal(made[0], made[1])
    assert torch.equal(IMAGES, before)


def test_a_call_draws_and_applies() -> None:
    views, again = FamilyViews("default", 32, seed=3), FamilyViews(default, 32, seed=3)
    for _ in range(3):
        assert equal(views(IMAGES), again.apply(IMAGES, again.draw(6)))


def test_bytes_and_floats_are_the_same_images() -> None:
    one, other = FamilyViews("default", 32), FamilyViews("default", 32)
    floats = IMAGES / 255
    before = floats.clone()
    assert equal(one(IMAGES), other(floats))
    assert torch.equal(floats, before)


def test_without_statistics_an_image_stays_in_its_range() -> None:
    views = FamilyViews(identity, 40, 1, mean=None, std=None)
    torch.testing.assert_close(views(IMAGES)[0], IMAGES / 255)
    halves = FamilyViews(identity, 40, 1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1.0))(IMAGES)[0]
    expected = (IMAGES / 255 - 0.5) / torch.tensor([0.5, 0.25, 1.0])[:, None, None]
    torch.testing.assert_close(halves, expected)


def test_batches_seeds_and_processes_draw_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    views = FamilyViews("ventral", 32)
    first, second = views(IMAGES), views(IMAGES)
    of_seed = FamilyViews("ventral", 32, seed=1)(IMAGES)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    of_rank = FamilyViews("ventral", 32)(IMAGES)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    assert equal(FamilyViews("ventral", 32)(IMAGES), first)
    different = [view for views in (first, second, of_seed, of_rank) for view in views]
    assert all(not torch.equal(one, other) for i, one in enumerate(different) for other in different[:i])


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = FamilyViews("default", 32)(IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert equal(FamilyViews("default", 32)(IMAGES), first)


class Method(LightningModule):
    """Remembers its views."""

    def __init__(self) -> None:
        super().__init__()
        self.views = FamilyViews("ventral", 32)
        self.layer = nn.Linear(1, 1)
        self.seen: list[list[Tensor]] = []

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.views(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(batch)
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*(num_workers|GPU available|LeafSpec|isinstance.treespec).*")
def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(tmp_path: Path) -> None:
    def train(epochs: int, **arguments: Any) -> Method:
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
        trainer, method = Trainer(max_epochs=epochs, accelerator="cpu", **quiet), Method()  # type: ignore[arg-type]
        trainer.fit(method, DataLoader(IMAGES, batch_size=3), **arguments)  # type: ignore[arg-type]
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return method

    whole = train(2).seen
    assert equal(train(1).seen[1], whole[1])
    resumed = train(2, ckpt_path=tmp_path / "1.ckpt").seen
    assert len(resumed) == 2
    assert all(map(equal, resumed, whole[2:]))
    assert not equal(whole[0], whole[2])


def test_weights_from_before_there_were_views_are_taken() -> None:
    weights = {name: value for name, value in Method().state_dict().items() if name.startswith("layer")}
    assert not any(Method().load_state_dict(weights))


def test_a_module_that_has_it_initialises_its_weights() -> None:
    seen: list[type[nn.Module]] = []
    Method().apply(lambda module: seen.append(type(module)))
    assert seen == [FamilyViews, nn.Linear, Method]


def test_canvases_come_with_their_extents(photo_folder: Path) -> None:
    """A crop has its shape in the photograph, and not in the square that the canvas stretches that to."""
    family = build_family("wide", [{"resized_crop": {"scale": [0.3, 0.4], "ratio": [0.5, 2.0]}}])
    views = FamilyViews(family, 32)
    dataset = ImageFolder(str(photo_folder / "train"), views.canvas, loader=views.canvas.load)
    canvases, _ = next(iter(DataLoader(dataset, batch_size=6)))
    assert isinstance(canvases, CanvasImage)
    assert len(set(canvases.extent)) > 1
    sizes = sizes_of(canvases.extent)
    assert (sizes[:, 0] != sizes[:, 1]).any()
    made = views(canvases)
    assert equal(made, FamilyViews(family, 32)(canvases.pixels, sizes))
    assert equal(made, FamilyViews(family, 32)(list(canvases)))
    assert not equal(made, FamilyViews(family, 32)(canvases.pixels))


def test_the_canvas_is_that_of_the_largest_view() -> None:
    entries = [CropEntry(ventral, 96, 6), CropEntry(ventral, 224, 2)]
    assert (FamilyViews(entries).canvas.size, FamilyViews(entries).canvas.sharp) == (256, True)
    assert (FamilyViews("ventral", 32).canvas.size, FamilyViews("ventral", 32).canvas.sharp) == (32, False)


def test_it_says_what_it_does() -> None:
    words = "2 x ventral@32 (resized_crop scale 0.2 to 1, ratio 0.75 to 1.33; horizontal_flip p 0.5)"
    assert repr(FamilyViews("ventral", 32)) == f"FamilyViews({words})"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ventrl",), "there is no 'ventrl'; did you mean 'ventral'"),
        ((3,), "FamilyViews: family=3: expected a family, its name, or a list of CropEntry"),
        (([],), r"FamilyViews: family=\[\]: expected a family"),
        ((["ventral", "dorsal"],), r"FamilyViews: family=\['ventral', 'dorsal'\]: expected .* a list of CropEntry"),
        (([CropEntry(ResizedCrop(), 32, 2)],), "expected a family or its name"),  # type: ignore[arg-type]
        (("ventral", 0), "FamilyViews: crop_size=0: expected a whole number of at least 1"),
        (("ventral", 32, 2.5), r"FamilyViews: num_views=2\.5: expected a whole number"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FamilyViews(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": [0.5]}, r"mean=\[0.5\]: expected three numbers"),
        ({"std": [0.0, 0.1, 0.1]}, "expected positive numbers"),
        ({"mean": [123.7, 116.3, 103.5]}, "divide by 255"),
        ({"seed": -1}, "seed=-1: expected a whole number of at least 0"),
    ],
)
def test_wrong_keywords_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FamilyViews("ventral", **arguments)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 3, 40, 60), r"images \(2, 3, 40, 60\), expected canvases, which are square, .* views.canvas"),
        (torch.rand(3, 40, 40), r"images \(3, 40, 40\), expected canvases"),
        (torch.rand(2, 3, 40, 40) - 2, r"images with values from -[12].* to -[12].*, expected \[0, 1\], not norm"),
        (torch.rand(2, 3, 40, 40) * 255, "images with values from .*, expected"),
        (torch.ones(2, 3, 40, 40, dtype=torch.int64), r"images of torch\.int64, expected uint8"),
        ([torch.rand(2, 3, 40, 40)], "a list, expected images"),
        ({"image": 1}, "a dict, expected images"),
    ],
)
def test_wrong_batches_are_refused(images: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"FamilyViews: {message}"):
        FamilyViews("ventral", 32)(images)


def test_parameters_of_another_batch_are_refused() -> None:
    views = FamilyViews("ventral", 32)
    with pytest.raises(UserError, match="FamilyViews: the parameters were not drawn for 6 images"):
        views.apply(IMAGES, views.draw(4))
    with pytest.raises(UserError, match="FamilyViews: parameters of 1 crops, expected those of 2"):
        views.apply(IMAGES, views.draw(6)[:1])
    with pytest.raises(UserError, match="FamilyViews: "):
        views.apply(IMAGES)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["ventral", "photometric"])
def test_half_precision_is_only_what_goes_in_and_comes_out(kind: torch.dtype, family: str) -> None:
    """The views are those that single precision makes of the same images, which may have been rounded before."""
    rounded = (IMAGES / 255).to(kind)
    of_bytes, of_floats = FamilyViews(family, 32)(IMAGES), FamilyViews(family, 32)(rounded.float())
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)  # as a trainer of half-precision weights does within a step
    try:
        in_half = FamilyViews(family, 32)(IMAGES), FamilyViews(family, 32)(rounded)
    finally:
        torch.set_default_dtype(before)
    for expected, made in zip((of_bytes, of_floats), in_half, strict=True):
        assert equal(made, [view.to(kind) for view in expected])


def test_compiled_code_calls_it_as_it_is() -> None:
    """What is drawn anew for each batch is not compiled for each."""
    graphs = []

    def compiler(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    views, drawing, compiled = (FamilyViews("ventral", 32) for _ in range(3))

    @torch.compile(backend=compiler)
    def step(images: Tensor) -> Tensor:
        return 2 * drawing.apply(images, drawing.draw(len(images)))[0]

    called = torch.compile(compiled, backend=compiler)
    for _ in range(3):
        expected = views(IMAGES)
        assert equal(called(IMAGES), expected)
        assert torch.equal(step(IMAGES), 2 * expected[0])
    assert len(graphs) == 1


def test_data_workers_would_all_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.utils.data, "get_worker_info", object)
    with pytest.raises(UserError, match="not in data workers"):
        FamilyViews("ventral", 32)(torch.rand(2, 3, 40, 40))


def test_every_batch_on_the_cpu_is_looked_at() -> None:
    views = FamilyViews("ventral", 32)
    views(torch.rand(2, 3, 40, 40))
    with pytest.raises(UserError, match="values from"):
        views(torch.rand(2, 3, 40, 40) * 255)


@pytest.mark.parametrize(
    ("images", "sizes", "message"),
    [
        (torch.rand(6, 3, 40, 40), torch.tensor([[40, 40]]), "FamilyViews: "),
        (torch.rand(0, 3, 40, 40), None, "a batch of no images"),
        ([torch.zeros(0, 3, 40, 40, dtype=torch.uint8), []], None, "a batch of no images"),
    ],
)
def test_sizes_and_numbers_of_images_are_refused_by_a_call_too(images: Any, sizes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FamilyViews("ventral", 32)(images, sizes)
