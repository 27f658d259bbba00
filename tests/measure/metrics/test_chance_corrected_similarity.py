import pytest
import torch
from torch import Tensor

from solo_invariance.measure.functional.chance import chance_similarity, correct_for_chance, same_image
from solo_invariance.measure.metrics.chance_corrected_similarity import ChanceCorrectedSimilarity
from solo_invariance.measure.metrics.view_metric import Gallery


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_orthogonal_features_score_nothing_by_chance() -> None:
    basis = torch.eye(4, dtype=torch.float64)
    own = same_image(torch.arange(4), torch.arange(4))
    chance = chance_similarity(2 * basis[:, None], basis, own)
    torch.testing.assert_close(chance, torch.zeros(4, 1, dtype=torch.float64))
    # A view of the next image meets that image among three others.
    chance = chance_similarity(basis.roll(1, 0)[:, None], basis, own)
    torch.testing.assert_close(chance, torch.full((4, 1), 1 / 3, dtype=torch.float64))


def test_chance_is_the_mean_of_all_cosines_with_other_images() -> None:
    views, gallery = draw(6, 3, 5) + 1, draw(9, 5, seed=1) + 1
    images, ids = torch.arange(6), torch.tensor([0, 0, 1, 2, 2, 2, 7, 8, 9])
    chance = chance_similarity(views, gallery, same_image(images, ids))
    pairs = torch.nn.functional.cosine_similarity(views[:, :, None], gallery, dim=-1)
    for image in range(6):
        torch.testing.assert_close(chance[image], pairs[image][:, ids != image].mean(dim=1))


def test_every_row_of_the_image_itself_is_left_out() -> None:
    gallery = draw(5, 4)
    twice = Gallery(torch.cat([gallery, gallery]), torch.arange(5).repeat(2))
    once = Gallery(gallery, torch.arange(5))
    numbers = []
    for other_images in (once, twice):
        metric = ChanceCorrectedSimilarity(other_images)
        metric.update(gallery, draw(5, 3, 4, seed=1), images=torch.arange(5))
        numbers.append(metric.compute())
    torch.testing.assert_close(*numbers)


def test_views_of_other_images_score_nothing() -> None:
    num_images, num_views, size, shift = 1000, 8, 16, 2.0
    # Features with a mean of their own, so that any two are alike: their expected cosine is far from 0.
    gallery = draw(num_images, size) + shift
    views = draw(num_images, num_views, size, seed=1) + shift
    metric = ChanceCorrectedSimilarity(Gallery(gallery, torch.arange(num_images)))
    metric.update(gallery, views, images=torch.arange(num_images))
    similarity, chance = metric.per_image().unbind(-1)
    assert similarity.mean() > 0.7
    # Views are drawn apart from all images, so the differences have expectation 0. They add up over images to no more
    # than independent ones do, as all clean features less their mean add up to 0.
    difference = (similarity - chance).mean(dim=1)
    error = difference.std() / num_images**0.5 / (1 - chance.mean())
    assert abs(metric.compute().mean()) < 5 * error
    assert 5 * error < 0.05


def test_all_views_of_all_other_images_in_the_gallery() -> None:
    # Over all ordered pairs (image, source of the view), similarity averages the cosine P of two different images. The
    # gallery without the image still has the source itself: chance averages ((N - 2) P + 1) / (N - 1). So the corrected
    # similarity is -1 / (N - 2), whatever the features.
    num_images = 12
    features = draw(num_images, 6) + 0.5
    views = torch.stack([features.roll(-step, 0) for step in range(1, num_images)], dim=1)
    metric = ChanceCorrectedSimilarity(Gallery(features, torch.arange(num_images)))
    metric.update(features, views, images=torch.arange(num_images))
    similarity, chance = metric.per_image().mean(dim=(0, 1))
    assert float(correct_for_chance(similarity, chance)) == pytest.approx(-1 / (num_images - 2), abs=1e-12)


def test_known_corrections() -> None:
    corrected = correct_for_chance(torch.tensor([1.0, 0.25, 0.0, 0.5]), torch.tensor([0.25, 0.25, 0.5, -1.0]))
    torch.testing.assert_close(corrected, torch.tensor([1.0, 0.0, -1.0, 0.75]))


def test_features_that_all_point_one_way_have_no_value() -> None:
    features = torch.arange(1.0, 5.0)[:, None] * torch.tensor([0.3, 0.1])
    metric = ChanceCorrectedSimilarity(Gallery(features, torch.arange(4)))
    metric.update(features, features[:, None], images=torch.arange(4))
    assert not metric.compute().isfinite()
    with pytest.raises(ValueError, match="point one way"):
        correct_for_chance(torch.ones(2), torch.ones(2))


def test_a_gallery_of_nothing_but_the_image_is_refused() -> None:
    own = same_image(torch.tensor([3, 4]), torch.tensor([4, 4]))
    with pytest.raises(ValueError, match="no image but image 1 itself"):
        chance_similarity(draw(2, 1, 3), draw(2, 3), own)


def test_the_gallery_moves_with_the_metric_and_is_no_parameter() -> None:
    metric = ChanceCorrectedSimilarity(Gallery(draw(3, 2), torch.arange(3)))
    assert metric.state_dict() == {}
    assert metric.to("meta").gallery_features.device.type == "meta"
