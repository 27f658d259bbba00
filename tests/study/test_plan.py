import json
import re
from pathlib import Path

import pytest
import torch

from solo_invariance import ShapeSettings, load_backbone, shape
from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.measure import ReferenceConfig
from solo_invariance.config.study import StudyConfig, presets
from solo_invariance.errors import UserError
from solo_invariance.study.ahead import StudyAhead
from solo_invariance.study.backbones import StudyBackbones
from solo_invariance.study.checkpoints import plan_of
from solo_invariance.study.evaluation import steps_of
from solo_invariance.study.images import StudyImages
from solo_invariance.study.instances import Instance
from solo_invariance.study.needs import require_all_there
from solo_invariance.study.plan import Pretraining
from solo_invariance.study.run import checked_plan


def _settings(*overrides: str) -> StudyConfig:
    return as_object(compose_command("study", overrides), StudyConfig)


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_study_that_can_be_judged(name: str) -> None:
    plan = checked_plan(_settings(f"study={name}"))
    assert plan.settings.study.name == name
    assert plan.jobs[-1] == "evaluation"


def test_ensembles_are_all_triples_of_seeds_and_fusions_are_of_one_seed() -> None:
    made = ("study.ensembles={VVV: ventral}", "study.fusions={VO: [ventral,dorsal]}")
    plan = plan_of(_settings("seeds=[0,1,2,3]", *made))
    assert [one.seeds for one in plan.instances if one.arm == "VVV"] == [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]
    assert plan.parts(Instance("VVV", (0, 2, 3))) == [Pretraining("ventral", seed) for seed in (0, 2, 3)]
    assert plan.parts(Instance("VO", (2,))) == [Pretraining("ventral", 2), Pretraining("dorsal", 2)]


def test_the_pages_own_study_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "study.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.yaml").write_text("".join(blocks))
    config = compose_command("study", [f"hydra.searchpath=[{tmp_path}]", "study=mine"])
    plan = checked_plan(as_object(config, StudyConfig))
    require_all_there(plan)
    assert plan.roles == {
        **dict.fromkeys(("ventral", "dorsal"), "trained"),
        "untrained": "untrained",
        **dict.fromkeys(("less hue", "both mirrors"), "shaped"),
        "V+O": "fusion",
    }
    assert StudyAhead(plan, 0, 1, True).facts()["arms"].endswith("made of them: less hue, both mirrors, V+O")


def test_seeds_too_few_for_some_arms_leave_these_out() -> None:
    of_preset = ("study=photos",)
    assert checked_plan(_settings(*of_preset)).left_out == []
    ensembles = ["D+D+D", "V+V+V", "O+O+O"]
    assert checked_plan(_settings(*of_preset, "seeds=[0,1]")).left_out == ensembles
    own_seeds = ("study.arms={default x3: {seeds: [0,1]}}",)
    plan = checked_plan(_settings(*of_preset, "seeds=[7]", *own_seeds))
    assert plan.left_out == ["default x3", *ensembles]
    assert StudyAhead(plan, 0, 1, True).facts()["seeds"] == "7, too few for default x3, D+D+D, V+V+V, O+O+O"
    with pytest.raises(UserError, match="VVV has no seed"):
        checked_plan(_settings("study.ensembles={VVV: ventral}"))


def test_a_shaped_arm_is_of_the_seeds_of_what_it_is_of_and_is_shaped_as_shape_does_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shaped = "{of: ventral, mode: dial, transforms: [hue], k: 2, options: {strength: 0.4}}"
    reference = "study.shape_reference={num_images: 40, size: 32}"
    plan = plan_of(_settings("seeds=[0,1,2]", f"study.shaped={{dialled: {shaped}}}", reference))
    instances = [one for one in plan.instances if one.arm == "dialled"]
    assert [one.seeds for one in instances] == [(0,), (1,), (2,)]
    assert plan.parts(instances[1]) == [Pretraining("ventral", 1)]
    assert plan.roles["dialled"] == "shaped"
    assert "pretrain/dialled/0" not in plan.jobs
    backbones = StudyBackbones(plan, {}, StudyImages(plan.settings.study), "cpu")
    ventral = load_backbone("random:resnet10w025", crop_size=32, seed=1)
    monkeypatch.setattr(StudyBackbones, "_single", lambda *_: ventral)
    found, images = backbones.of(instances[1]), torch.rand(4, 3, 32, 32)
    scenes = ReferenceConfig(name="latent_scenes", num_images=40, size=32, seed=3_000_001)
    settings = ShapeSettings(k=2, options={"strength": 0.4})
    expected = shape(ventral, "dial", ["hue"], reference=scenes, settings=settings, device="cpu").backbone
    assert torch.equal(found(images), expected(images))
    assert found.provenance.label == "dialled seed 1"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{of: ventrl}", r"study\.shaped\.x\.of=ventrl: there is no such arm; did you mean 'ventral'"),
        ("{of: ventral, modus: dial}", "study.shaped.x: there is no key 'modus'; did you mean 'mode'"),
        ("{of: ventral, k: 1}", r"study\.shaped\.x\.k=1"),
        ("dial", r"expected keys and values, \{of: ARM"),
        ("{of: ventral, mode: blend, transforms: [hue]}", "study.shaped.x: mode: there is no 'blend'"),
        ("{of: ventral, transforms: [sepia]}", "study.shaped.x: .*there is no 'sepia'"),
    ],
)
def test_what_is_no_shaped_arm_is_refused_before_anything_is_trained(entry: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_all_there(checked_plan(_settings(f"study.shaped={{x: {entry}}}")))


def test_what_there_is_nothing_of_to_measure_is_no_part_of_the_evaluation() -> None:
    nothing = ("study.claims={}", "study.measure.transforms=[]")
    folders = {
        views: {step.folder for step in steps_of(plan_of(_settings(*nothing, f"study.measure.views={views}")))}
        for views in ("[]", "[pose]", "[{name: view_folders, path: heads, kind: spatial}]")
    }
    scores = {"transfer", "projected"}
    assert [*folders.values()] == [scores, {"measure", *scores}, {"views", *scores}]


def test_references_from_a_folder_are_drawn_by_their_seeds(photo_folder: Path) -> None:
    def drawn(seed: int) -> set[bytes]:
        how = f"{{path: {photo_folder / 'train'}, num_images: 20, seed: {seed}}}"
        images = StudyImages(_settings(f"study.fuse_reference={how}").study).fuse_reference
        return {images[index].numpy().tobytes() for index in range(len(images))}

    assert len(drawn(1)) == 20
    assert drawn(1) == drawn(1) != drawn(2)


def test_an_untrained_arm_of_a_network_that_no_other_arm_has_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(UserError, match=r"study\.arms\.untrained: no arm of that network is trained"):
        checked_plan(_settings("study.arms.untrained.backbone=resnet10"))


def test_an_arms_pretraining_has_its_family_its_seed_and_its_own_keys() -> None:
    plan = plan_of(_settings("study.arms.dorsal.pretrain={max_epochs: 3}", "study.pretrain.max_epochs=2"))
    ventral, dorsal = (plan.config_of(Pretraining(arm, 7)) for arm in ("ventral", "dorsal"))
    assert (ventral.max_epochs, dorsal.max_epochs) == (2, 3)
    assert (ventral.seed, ventral.invariance.family, dorsal.invariance.family) == (7, "ventral", "dorsal")
    assert ventral.checkpoint.dir == "runs/study/pretrain/ventral/7"


def test_the_papers_figure_is_what_was_measured() -> None:
    rows = json.loads((Path(__file__).parents[2] / "benchmarks/results/nvidia-h200.json").read_text())["rows"]
    share = next(row for row in rows if row.get("family") == "default" and row["kind"] == "share")
    cost = _settings("study=paper").study.cost
    assert cost.images_per_second == pytest.approx(256 / (share["seconds"] + share["step_seconds"]), rel=1e-3)
