from collections.abc import Callable
from pathlib import Path
from typing import Any

from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import collect_results

Make = Callable[..., Any]


def test_results_that_were_measured_alike_need_no_caution(paper_runs: Path) -> None:
    assert caveats(collect_results([paper_runs])) == []


def test_settings_that_differ_are_named_with_their_backbones(
    tmp_path: Path, write_invariance: Make, write_transfer: Make
) -> None:
    write_invariance("a", "a", protocol="paper", k=256)
    write_invariance("b", "b", num_images=1000)
    write_invariance("c", "c")
    write_transfer("a", "a", "shape", 0.5, protocol="clean")
    write_transfer("b", "b", "shape", 0.5, protocol="paper", probe="ridge", num_test=50)
    write_transfer("c", "c", "object_hue", 0.5, probe="ridge")
    assert caveats(collect_results([tmp_path])) == [
        "The protocol differs between the invariance results (paper: a; clean: b, c).",
        "The number of images differs between the invariance results (256: a, c; 1000: b).",
        "The number of parameters differs between the invariance results (256: a; 16: b, c).",
        "The protocol differs between the results on shape (clean: a; paper: b).",
        "The probe differs between the results on shape (logistic: a; ridge: b).",
        "The number of test images differs between the results on shape (500: a; 50: b).",
        "No task was scored for every backbone, so they are not ranked.",
    ]


def test_averages_over_nothing_shared_are_named(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    write_invariance("a", "a", transforms={"rotation": make_transform(0.3), "hue": make_transform(0.3, "appearance")})
    write_invariance("b", "b", transforms={"scale": make_transform(0.6), "hue": make_transform(0.3, "appearance")})
    assert caveats(collect_results([tmp_path])) == [
        "No spatial transform was measured for every backbone, so their averages are not compared."
    ]


def test_what_a_result_cautions_against_is_said_of_its_backbone(tmp_path: Path, write_invariance: Make) -> None:
    write_invariance("a", "a", cautions=["hue: all features are equal."])
    write_invariance("b", "b")
    assert caveats(collect_results([tmp_path])) == ["a: hue: all features are equal."]
