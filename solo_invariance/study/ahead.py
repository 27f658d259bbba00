"""What a study is about to do."""

from dataclasses import dataclass

from solo_invariance.study.plan import Plan


@dataclass(frozen=True)
class StudyAhead:
    """A study before it begins.

    Args:
        plan: All of it.
        done: How many of the chosen pre-trainings were done before.
        processes: How many pre-train at once.
        evaluates: Whether all backbones are then measured and scored.
    """

    plan: Plan
    done: int
    processes: int
    evaluates: bool

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        plan, preset = self.plan, self.plan.settings.study
        chosen = [one for one in plan.to_train if one.job in plan.chosen_jobs]
        arms = ", ".join(f"{name} ({arm.role})" if arm.role != "trained" else name for name, arm in preset.arms.items())
        made = ", ".join([*preset.shaped, *preset.fusions, *preset.ensembles])
        done = f", {self.done} of which are done" if self.done else ""
        elsewhere = f"; {len(plan.checkpoints)} were trained elsewhere" if plan.checkpoints else ""
        left_out = f", too few for {', '.join(plan.left_out)}" if plan.left_out else ""
        together = f", {self.processes} at once" if self.processes > 1 else ""
        tasks = ", ".join(str(task.label or task.name) for task in plan.tasks)
        evaluated = f"{len(plan.instances)} backbones on {tasks}, with all features and with {preset.width}"
        return {
            "study": f"{preset.name}: {preset.says}",
            "arms": f"{arms}; made of them: {made}" if made else arms,
            "seeds": ", ".join(map(str, plan.settings.chosen_seeds)) + left_out,
            "pretrain": f"{len(chosen)} backbones{done}{together}{elsewhere}",
            **({"evaluate": evaluated} if self.evaluates else {}),
            "out": f"{plan.out}{' (what an earlier run has done there is kept)' if plan.out.is_dir() else ''}",
        }
