"""A task of a stranger's, that knows nothing but the abstract class."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from solo_invariance.data.framing import FramedImages, Framing
from solo_invariance.data.images import digest_of
from solo_invariance.data.reading import load_batches
from solo_invariance.transfer.tasks import Task, TaskSettings

EXAMPLE = Path(__file__).parents[3] / "examples" / "third_party_transfer"


@pytest.fixture
def stripes(monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "stripe_tasks", raising=False)
    name, _, attribute = "stripe_tasks:stripes".partition(":")
    assert f'stripes = "{name}:{attribute}"' in (EXAMPLE / "pyproject.toml").read_text()
    task: Task = getattr(import_module(name), attribute)
    return task


def test_its_images_can_be_read_framed_and_known_again(stripes: Task) -> None:
    settings = TaskSettings(num_train=6, num_test=3, size=40, crop_size=32)
    assert stripes.resolve(settings) is stripes
    train, test = stripes.load(settings)
    framed = FramedImages(train.images, Framing(settings.crop_size))
    images = [image for _, batch in load_batches(framed, range(6), 4) for image in batch]
    assert torch.stack(images).shape == (6, 3, 32, 32)
    assert len({digest_of(framed, index) for index in range(6)}) == 6
    assert test.targets.shape == (3, 2)


def test_its_stripes_are_turned_as_its_targets_say(stripes: Task) -> None:
    train, _ = stripes.load(TaskSettings(num_train=8, size=64))
    for index in range(8):
        image = train.images[index]
        assert isinstance(image, torch.Tensor)
        spectrum = torch.fft.fftshift(torch.fft.fft2(image[0].double() - 127.5).abs())
        row, column = divmod(int(spectrum.argmax()), 64)
        angle = torch.atan2(torch.tensor(row - 32.0), torch.tensor(column - 32.0))
        assert [float((2 * angle).cos()), float((2 * angle).sin())] == pytest.approx(
            train.targets[index].tolist(), abs=0.2
        )
