"""What a study consists of: pre-trainings that need nothing of each other, and the backbones that are evaluated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.config.claims import Role
from solo_invariance.config.composed import compose_command, literal
from solo_invariance.config.explained import explain_config_error
from solo_invariance.config.kinds import open_mappings
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.config.study import StudyArmConfig, StudyConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.task_entries import task_from
from solo_invariance.errors import UserError, none_of
from solo_invariance.study.instances import Instance

EVALUATION = "evaluation"
"""The job that measures and scores all backbones."""

_IN_AN_ENSEMBLE = 3


class Pretraining(NamedTuple):
    """A pre-training: of an arm, by a seed.

    Attributes:
        arm: Its name.
        seed: Of the weights, the order of the images and the views.
    """

    arm: str
    seed: int

    @property
    def job(self) -> str:
        """What ``only`` calls it, and where below ``out`` its checkpoints go."""
        return f"pretrain/{self.arm}/{self.seed}"


@dataclass(frozen=True)
class Members:
    """What an arm of the study is made of.

    Args:
        role: What it is for.
        arms: The arms whose backbones it consists of; of a single one, itself.
    """

    role: Role
    arms: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """All of a study.

    Args:
        settings: As they were given.
        checkpoints: Of pre-trainings that were done elsewhere.
    """

    settings: StudyConfig
    checkpoints: Mapping[Pretraining, Path]

    @property
    def out(self) -> Path:
        """Where everything goes."""
        return Path(self.settings.out)

    @property
    def pretrainings(self) -> list[Pretraining]:
        """All backbones that are trained, here or elsewhere: seed by seed, so that all arms have the first seeds."""
        arms = {name: arm for name, arm in self.settings.study.arms.items() if arm.role != "untrained"}
        seeds = dict.fromkeys(seed for name in arms for seed in self.settings.seeds_of(name))
        return [Pretraining(name, seed) for seed in seeds for name in arms if seed in self.settings.seeds_of(name)]

    @property
    def to_train(self) -> list[Pretraining]:
        """Those that are trained here."""
        return [one for one in self.pretrainings if one not in self.checkpoints]

    @property
    def jobs(self) -> list[str]:
        """What ``only`` may name."""
        return [*(one.job for one in self.to_train), EVALUATION]

    @property
    def chosen_jobs(self) -> list[str]:
        """What ``only`` names, all by default.

        Raises:
            UserError: It names something else.
        """
        only = self.settings.only
        chosen = self.jobs if only is None else [only] if isinstance(only, str) else only
        for name in chosen:
            if name not in self.jobs:
                raise UserError(f"only: {name!r} is no job of the study{none_of(str(name), self.jobs)}")
        return chosen

    @property
    def members(self) -> dict[str, Members]:
        """What each arm is made of: single ones first, then shaped ones, fusions and ensembles."""
        preset = self.settings.study
        return {
            **{name: Members(arm.role, (name,)) for name, arm in preset.arms.items()},
            **{name: Members("shaped", (one.of,)) for name, one in preset.shaped.items()},
            **{name: Members("fusion", tuple(arms)) for name, arms in preset.fusions.items()},
            **{name: Members("ensemble", (arm,) * _IN_AN_ENSEMBLE) for name, arm in preset.ensembles.items()},
        }

    @property
    def roles(self) -> dict[str, Role]:
        """What each arm is for."""
        return {name: one.role for name, one in self.members.items()}

    @property
    def instances(self) -> list[Instance]:
        """All backbones that are evaluated."""
        return [one for name, members in self.members.items() for one in self._instances(name, members)]

    @property
    def left_out(self) -> list[str]:
        """What the seeds are too few for: arms of other seeds, what is made of such, and ensembles of three."""
        there = {one.arm for one in self.instances}
        return [name for name in self.members if name not in there]

    def _instances(self, name: str, members: Members) -> Iterator[Instance]:
        seeds = [self.settings.seeds_of(arm) for arm in members.arms]
        common = [seed for seed in seeds[0] if all(seed in others for others in seeds)]
        size = len(members.arms) if members.role == "ensemble" else 1
        yield from (Instance(name, chosen) for chosen in combinations(common, size))

    def parts(self, instance: Instance) -> list[Pretraining]:
        """Return the arms and seeds whose backbones an instance consists of."""
        arms = self.members[instance.arm].arms
        seeds = instance.seeds if len(instance.seeds) == len(arms) else instance.seeds * len(arms)
        return [Pretraining(arm, seed) for arm, seed in zip(arms, seeds, strict=True)]

    def alike(self, untrained: Pretraining) -> list[Pretraining]:
        """Return the pre-trainings whose network an untrained arm has, by which it is built.

        Raises:
            UserError: There are none.
        """
        network = self.config_of(untrained).backbone
        found = [one for one in self.pretrainings if self.config_of(one).backbone == network]
        if not found:
            raise UserError(f"study.arms.{untrained.arm}: no arm of that network is trained, and so none can be built")
        return found

    @property
    def tasks(self) -> list[TaskConfig]:
        """What is scored.

        Raises:
            UserError: An entry is no task, or two have one label.
        """
        preset = self.settings.study
        usual = TaskConfig(**{**vars(preset.task), "name": preset.task.name or "shape"})
        try:
            tasks = [task_from(entry, usual) for entry in preset.tasks]
        except UserError as error:
            raise UserError(f"study.{error}") from error
        labels = [task.label or task.name for task in tasks]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise UserError(f"study.tasks: {twice} is there twice; give one of them another label")
        return tasks

    def config_of(self, pretraining: Pretraining, accelerator: str = "auto") -> DictConfig:
        """Return the configuration of a pre-training, as ``pretrain`` takes it.

        Args:
            pretraining: Which.
            accelerator: Where: ``cpu``, ``gpu``, ...

        Raises:
            UserError: A key of ``study.pretrain``, or of the arm's, is none of ``pretrain``'s, or a value is wrong.
        """
        arm, name = self.settings.study.arms[pretraining.arm], f"study.arms.{pretraining.arm}"
        own = _merged(self.settings.study.pretrain, arm.pretrain)
        recipe = own.pop("recipe", None)
        try:
            config = OmegaConf.merge(_composed(recipe), literal(own), literal(_of_arm(arm)))
            config.name, config.seed, config.accelerator = pretraining.arm, pretraining.seed, accelerator
            config.checkpoint.dir = str(self.out / pretraining.job)
            OmegaConf.to_object(config)  # checks the values
        except OmegaConfBaseException as error:
            raise UserError(f"study.pretrain: {explain_config_error(error, 'pretrain')} ({name})") from error
        except UserError as error:
            raise UserError(f"study.pretrain: {error} ({name})") from error
        assert isinstance(config, DictConfig)
        return config


def label_of(instance: Instance) -> str:
    """Return what results call a backbone.

    Example:
        >>> label_of(Instance("ventral", (3,))), label_of(Instance("V+V+V", (0, 1, 2)))
        ('ventral seed 3', 'V+V+V seeds 0-1-2')
    """
    return f"{instance.arm} {'seed' if len(instance.seeds) == 1 else 'seeds'} {seeds_in_words(instance)}"


def seeds_in_words(instance: Instance) -> str:
    """Return an instance's seeds, as folders are called."""
    return "-".join(map(str, instance.seeds))


@lru_cache
def _composed(recipe: str | None) -> DictConfig:
    """Return what ``pretrain`` does with a recipe; not to be changed, for it is composed once for all pre-trainings."""
    chosen = [] if recipe is None else [f"+recipe={recipe}"]
    composed = compose_command("pretrain", ["augmentations=invariance/family", *chosen])
    for name in open_mappings(PretrainConfig):
        OmegaConf.set_struct(OmegaConf.select(composed, name), False)
    return composed


def _merged(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    merged: Any = OmegaConf.to_container(OmegaConf.merge(*(OmegaConf.create(literal(dict(one))) for one in mappings)))
    return dict(merged)


def _of_arm(arm: StudyArmConfig) -> dict[str, Any]:
    named = {} if arm.backbone is None else {"backbone": {"name": arm.backbone}}
    return {"invariance": {"family": arm.family or "identity"}, **named}
