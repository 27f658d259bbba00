from pathlib import Path

import pytest

from solo_invariance.data.parts import part_name, parts_of
from solo_invariance.errors import UserError


def _tree(root: Path, *folders: str) -> Path:
    """Make folders with an image in each; the image's content does not matter."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "0.png").touch()
    return root


def _labelled(root: Path, *parts: str) -> Path:
    return _tree(root, *(f"{part}/{name}" for part in parts for name in ("cat", "dog")))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("train", "valid"),
        ("train", "validation"),
        ("train", "dev"),
        ("training", "testing"),
        ("Training", "Testing"),
        ("Training", "Test"),
        ("trainset", "testset"),
        ("training_set", "test_set"),
        ("train-images", "test-images"),
        ("TrainImages", "TestImages"),
        ("train2017", "val2017"),
        ("seg_train", "seg_test"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("train_cropped", "valid_cropped"),
        ("a. Training Set", "b. Testing Set"),
        ("imagenet_train", "imagenet_val"),
    ],
)
def test_parts_are_known_by_the_names_that_people_give_them(tmp_path: Path, train: str, test: str) -> None:
    parts = parts_of(_labelled(tmp_path, train, test))
    assert parts is not None
    assert (parts.train, parts.test, parts.passed_over) == ((tmp_path / train,), tmp_path / test, ())


@pytest.mark.parametrize(
    "classes",
    [
        ("bus", "car", "train"),
        ("bus", "train"),
        ("train_station", "steam_train"),
        ("steam_train", "test_tube"),
        ("test_pattern", "training_shoe", "cup"),
        ("airport", "train", "test"),
        ("validator", "trainer"),
        ("cat", "dog"),
        ("0", "1"),
        ("devil", "evaluator", "predator"),
    ],
)
def test_honest_classes_stay_classes(tmp_path: Path, classes: tuple[str, ...]) -> None:
    assert parts_of(_tree(tmp_path, *classes)) is None


def test_of_three_parts_validation_is_for_training(tmp_path: Path) -> None:
    parts = parts_of(_labelled(tmp_path, "Train", "Valid", "Test"))
    assert parts is not None
    assert (set(parts.train), parts.test) == ({tmp_path / "Train", tmp_path / "Valid"}, tmp_path / "Test")


def test_parts_in_a_folder_of_their_own_name_are_found_and_the_unlabelled_passed_over(tmp_path: Path) -> None:
    _labelled(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    parts = parts_of(_tree(tmp_path, "seg_pred/seg_pred"))
    assert parts is not None
    assert parts.train == (tmp_path / "seg_train" / "seg_train",)
    assert (parts.test, parts.passed_over) == (tmp_path / "seg_test" / "seg_test", ("seg_pred",))
    wrapped = _labelled(tmp_path / "wrapped", "train/images", "test/images")
    parts = parts_of(wrapped)
    assert parts is not None
    assert (parts.train, parts.test) == ((wrapped / "train" / "images",), wrapped / "test" / "images")


def test_an_unlabelled_test_leaves_validation_for_the_test(tmp_path: Path) -> None:
    parts = parts_of(_tree(_labelled(tmp_path, "train", "valid"), "test", "annotations"))
    assert parts is not None
    assert (parts.train, parts.test) == ((tmp_path / "train",), tmp_path / "valid")
    assert parts.passed_over == ("test", "annotations")


@pytest.mark.parametrize(
    ("labelled", "bare", "message"),
    [
        (("train",), (), "has train, but neither test nor val"),
        (("train", "pred"), (), "has pred and train, but neither test nor val"),
        (("train", "training"), (), "has train and training, but neither test nor val"),
        (("test", "val"), (), "has test and val, but no train"),
        ((), ("valid", "test"), "has test and valid, but no train"),
        ((), ("train", "valid"), "train and valid hold images without folders of classes; expected a folder for each"),
        ((), ("seg_train", "seg_test", "seg_pred"), "seg_test and seg_train hold images without folders of classes"),
        (("train",), ("test",), r"test hold images without folders of classes; task\.path=.*/train takes its test"),
        (("train", "Training", "test"), (), "Training and train are both called like the part for training; keep one"),
        (
            ("pets_train", "pets_test", "cars_train", "cars_test"),
            (),
            "holds the parts of several datasets, cars_.* and pets_",
        ),
        (("train", "test_final"), (), "test_final and train look like parts of datasets, but not of one"),
    ],
)
def test_what_is_ambiguous_is_refused(
    tmp_path: Path, labelled: tuple[str, ...], bare: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path}: {message}") as error:
        parts_of(_tree(_labelled(tmp_path, *labelled), *bare))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["train_test", "traintest", "", "2017", "strain", "testify", "latest", "Südtest"])
def test_other_words_are_no_parts(name: str) -> None:
    assert part_name(name) is None or part_name(name) != part_name("test")


def test_train_and_validation_in_one_are_for_training() -> None:
    assert part_name("trainval") == part_name("train_val") == part_name("train")
