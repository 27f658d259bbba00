from collections.abc import Callable
from pathlib import Path
from typing import Any

from solo_invariance.report.collect import collect_results
from solo_invariance.report.headline import Label, headline, scope

Make = Callable[..., Any]


def sentences(*runs: Path) -> list[str]:
    return ["".join(parts) for parts in headline(collect_results(runs))]


def test_names_who_leads_on_each_kind_and_on_average_over_tasks(paper_runs: Path) -> None:
    assert sentences(paper_runs) == [
        "ventral is the most invariant to spatial changes (mean similarity 0.75 over 2 transforms); "
        "dorsal is the most invariant to appearance changes (mean similarity 0.85 over 2 transforms).",
        "ventral+dorsal is the best on average over 2 tasks (mean rank 1.00).",
    ]
    assert scope(collect_results([paper_runs])) == "3 backbones, 4 transforms, 2 view sets, 2 tasks"


def test_labels_can_be_set_apart(paper_runs: Path) -> None:
    parts = [part for sentence in headline(collect_results([paper_runs])) for part in sentence]
    assert [part for part in parts if isinstance(part, Label)] == ["ventral", "dorsal", "ventral+dorsal"]


def test_one_leader_on_both_kinds_is_named_once(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    for label, mean in (("a", 0.9), ("b", 0.1)):
        transforms = {"rotation": make_transform(mean), "hue": make_transform(mean, "appearance")}
        write_invariance(label, label, transforms=transforms)
    assert sentences(tmp_path) == [
        "a is the most invariant to spatial changes (mean similarity 0.90 over 1 transform) "
        "and to appearance changes (mean similarity 0.90 over 1 transform)."
    ]


def test_of_leaders_that_cannot_be_paired_it_is_said_that_they_overlap(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    for label, mean in (("a", 0.70), ("b", 0.73), ("c", 0.71), ("d", 0.2)):
        write_invariance(label, label, transforms={"rotation": make_transform(mean)})
    assert sentences(tmp_path) == [
        "a, b and c, whose intervals overlap, come first in invariance to spatial changes "
        "(mean similarity 0.70, 0.73 and 0.71 over 1 transform)."
    ]


def test_only_transforms_that_all_share_are_compared(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    write_invariance("a", "a", transforms={"rotation": make_transform(0.3), "scale": make_transform(0.99)})
    write_invariance("b", "b", transforms={"rotation": make_transform(0.6)})
    assert sentences(tmp_path) == [
        "b is the most invariant to spatial changes (mean similarity 0.60 over 1 transform)."
    ]


def test_without_transforms_the_views_decide(tmp_path: Path, write_invariance: Make, make_view: Make) -> None:
    write_invariance("a", "a", views={"pose": make_view(0.3)})
    write_invariance("b", "b", views={"pose": make_view(0.6)})
    assert sentences(tmp_path) == ["b is the most invariant to spatial changes (mean similarity 0.60 over 1 view set)."]


def test_one_backbone_is_described_and_not_compared(paper_runs: Path) -> None:
    assert sentences(paper_runs / "ventral") == [
        "ventral was measured on its invariance to spatial changes (mean similarity 0.75 over 2 transforms) "
        "and to appearance changes (mean similarity 0.25 over 2 transforms).",
        "ventral was scored on 2 tasks.",
    ]


def test_the_best_on_one_task_comes_with_its_score(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "object_hue", 0.9, metric="r2")
    write_transfer("b", "b", "object_hue", 0.5, metric="r2")
    assert sentences(tmp_path) == ["a is the best on object hue (R² 0.900)."]


def test_a_tie_on_the_only_task_is_said(tmp_path: Path, write_transfer: Make) -> None:
    for label, score in (("a", 0.90), ("b", 0.89), ("c", 0.88), ("d", 0.1)):
        write_transfer(label, label, "shape", score)
    assert sentences(tmp_path) == [
        "a is the best on shape (accuracy 0.900), but b and c may be as good: their intervals overlap the leader's."
    ]


def test_a_tie_on_every_task_is_said(tmp_path: Path, write_transfer: Make) -> None:
    for label, scores in {"a": (0.90, 0.80), "b": (0.89, 0.79), "c": (0.1, 0.81)}.items():
        for task, score in zip(("x", "y"), scores, strict=True):
            write_transfer(f"{label}/{task}", label, task, score)
    assert sentences(tmp_path) == [
        "a is the best on average over 2 tasks (mean rank 1.50), but b may be as good: its interval overlaps the "
        "leader's on each of them."
    ]


def test_equal_mean_ranks_share_the_first_place(tmp_path: Path, write_transfer: Make) -> None:
    for label, scores in {"a": (0.9, 0.1), "b": (0.1, 0.9)}.items():
        for task, score in zip(("x", "y"), scores, strict=True):
            write_transfer(f"{label}/{task}", label, task, score)
    assert sentences(tmp_path) == ["a and b share the first place on average over 2 tasks (mean rank 1.50)."]


def test_nothing_is_said_where_nothing_is_shared(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    write_invariance("a", "a", transforms={"rotation": make_transform(0.3)})
    write_invariance("b", "b", transforms={"scale": make_transform(0.6)})
    write_transfer("a", "a", "x", 0.9)
    write_transfer("b", "b", "y", 0.9)
    assert sentences(tmp_path) == []
