"""The keys of ``solo-invariance study``."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Annotated, Any, ClassVar, TypeVar

from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_workers
from solo_invariance.config.kinds import FamilyChoice, FilePath, Names, chosen_from
from solo_invariance.config.measure import (
    EMBEDDED,
    EMBEDDED_VIEWS,
    VIEW_SETS,
    Budget,
    DataConfig,
    require_data,
)
from solo_invariance.config.protocol import ProtocolName
from solo_invariance.config.task import TaskConfig
from solo_invariance.errors import UserError, none_of, reason_of

ROLES = ("trained", "untrained", "wide")
"""What an arm is for: to be compared with others, to show what was there before training, or what width alone does."""

Section = TypeVar("Section")

_NAME = re.compile(r"[\w+.][\w +.-]*", re.ASCII)


@dataclass
class StudyArmConfig(Checked):
    """What is trained, once for each seed.

    Args:
        family: Of augmentations: a name, several composed, or one that is written out; none of ``role: untrained``.
        role: ``trained``, ``untrained`` (the network as it is initialised) or ``wide`` (a control of width).
        backbone: The network's name, where it is another than ``study.pretrain.backbone.name``.
        seeds: Where they are others than the study's.
        pretrain: Keys of ``pretrain`` that are others than those of all arms.
    """

    section: ClassVar[str] = "study.arms.ARM."

    family: FamilyChoice = None
    role: str = field(default="trained", metadata=chosen_from(*ROLES))
    backbone: str | None = None
    seeds: list[int] | None = None
    pretrain: dict[str, Any] = field(default_factory=dict)


@dataclass
class StudyShapedConfig(Checked):
    """The backbones of an arm, changed after training, by images without labels: as ``shape`` does it.

    Args:
        of: The arm.
        mode: Of ``shape``.
        transforms: That it is shaped by.
        options: Of the mode.
        k: Steps of each transform.
    """

    section: ClassVar[str] = "study.shaped.NAME."

    of: str = ""
    mode: str = field(default="erase", metadata=chosen_from(plugins="shapers"))
    transforms: Names = field(default_factory=list, metadata=chosen_from("all", plugins="transforms"))
    options: dict[str, Any] = field(default_factory=dict)
    k: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "k", prefix=self.section)


@dataclass
class StudyDataConfig(DataConfig):
    """Which images are measured; as ``data`` of ``measure``."""

    section: ClassVar[str] = "study.measure.data."


@dataclass
class StudyImagesConfig(Checked):
    """Images that something is fitted to: a folder, or so many of the embedded dataset, which are rendered.

    Args:
        path: A folder of images.
        name: ``latent_scenes``, the embedded dataset, in place of a folder.
        num_images: How many.
        size: Side of rendered images, in pixels.
        seed: Of the draw from a folder, or of rendered images, others than those that are measured or scored on.
    """

    path: FilePath | None = None
    name: str | None = field(default=None, metadata=chosen_from(EMBEDDED))
    num_images: int = 5000
    size: int = 64
    seed: int = 1_000_001

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "num_images", prefix=self.section)
        if self.name not in (None, EMBEDDED):
            raise UserError(f"{self.section}name={self.name}: {EMBEDDED} is the only one; a folder goes to path")
        if self.name is not None and self.path is not None:
            raise UserError(f"{self.section}path and {self.section}name are both set: choose one")


@dataclass
class StudyReferenceConfig(StudyImagesConfig):
    """The images of the features' mean and covariance; none: as ``measure`` does without a reference."""

    section: ClassVar[str] = "study.measure.reference."


@dataclass
class FuseReferenceConfig(StudyImagesConfig):
    """The images that projections to one width are fitted to."""

    section: ClassVar[str] = "study.fuse_reference."

    name: str | None = field(default=EMBEDDED, metadata=chosen_from(EMBEDDED))
    seed: int = 2_000_001

    def __post_init__(self) -> None:
        if self.path is not None:
            self.name = None
        super().__post_init__()


@dataclass
class ShapeReferenceConfig(FuseReferenceConfig):
    """The images that shaped arms are fitted to."""

    section: ClassVar[str] = "study.shape_reference."

    num_images: int = 2000
    seed: int = 3_000_001


@dataclass
class StudyMeasureConfig(Checked):
    """How invariances are measured, in the keys of ``measure``.

    Args:
        data: The images, or a view set.
        reference: The images of the features' mean and covariance.
        transforms: Names of transforms; none are left out.
        views: View sets: those that the embedded dataset renders by name, others as ``{name, path, kind, label}``.
        protocol: ``paper`` or ``clean``.
        budget: ``full`` or ``adaptive``.
        target_se: Of an adaptive budget.
        k: Parameters of a transform.
        num_images: Images that each transform is measured at.
        matched_width: Dimensions that features are projected to, so that widths can be compared.
        seed: Of the choice of images and parameters, the same for all arms and seeds.
    """

    section: ClassVar[str] = "study.measure."

    data: StudyDataConfig = field(default_factory=lambda: StudyDataConfig(name=EMBEDDED))
    reference: StudyReferenceConfig = field(default_factory=StudyReferenceConfig)
    transforms: Names = field(default="all", metadata=chosen_from("all", plugins="transforms"))
    views: Annotated[list[Any], list[str | DataConfig]] = field(default_factory=list)
    protocol: ProtocolName = ProtocolName.clean
    budget: Budget = Budget.full
    target_se: float = 0.002
    k: int = 16
    num_images: int = 200
    matched_width: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "k", "matched_width", prefix=self.section)
        require_at_least(2, self, "num_images", prefix=self.section)
        if self.target_se <= 0:
            raise UserError(f"{self.section}target_se={self.target_se}: expected a positive number")
        view_sets_of(self.views)
        embedded = [entry for entry in self.views if isinstance(entry, str)]
        if embedded and self.data.name != EMBEDDED:
            raise UserError(
                f"{self.section}views: {embedded[0]}: only {self.section}data.name={EMBEDDED} has it; name view sets "
                f"of files, or none, {self.section}views=[]"
            )


@dataclass(frozen=True)
class ViewSetConfig:
    """A view set of files.

    Args:
        data: Its name, folder and kind.
        reference: The images of the features' mean and covariance; none: the set's own.
    """

    data: DataConfig
    reference: StudyReferenceConfig


def view_sets_of(entries: Sequence[Any]) -> dict[str, ViewSetConfig]:
    """Return the view sets of files among ``study.measure.views``, by their labels.

    Raises:
        UserError: An entry is no view set, or two have one label.
    """
    found: dict[str, ViewSetConfig] = {}
    key = "study.measure.views"
    for entry in entries:
        if isinstance(entry, str):
            if entry not in EMBEDDED_VIEWS:
                raise UserError(f"{key}: {entry!r} is no embedded view set{none_of(entry, EMBEDDED_VIEWS)}")
            continue
        if not isinstance(entry, Mapping) or entry.get("name") not in VIEW_SETS:
            raise UserError(
                f"{key}: {entry} is no view set; expected an embedded one's name, or {{name: view_folders, path: "
                f"FOLDER, kind: spatial, label: NAME}}"
            )
        label = str(entry.get("label") or entry["name"])
        if label in found or label in entries or not _NAME.fullmatch(label):
            raise UserError(f"{key}: label {label!r}: is there twice, or no name of a folder; take another")
        own = {name: value for name, value in entry.items() if name not in ("label", "reference")}
        data = _section(f"{key}: {label}", DataConfig, own)
        require_data(data)
        found[label] = ViewSetConfig(
            data, _section(f"{key}: {label}", StudyReferenceConfig, entry.get("reference") or {})
        )
    return found


@dataclass
class StudyTaskConfig(TaskConfig):
    """What an entry of ``study.tasks`` has where it says nothing of its own."""

    section: ClassVar[str] = "study.task."

    name: str | None = None


@dataclass
class StudyTransferConfig(Checked):
    """How tasks are scored, in the keys of ``transfer``."""

    section: ClassVar[str] = "study.transfer."

    protocol: ProtocolName = ProtocolName.clean
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "folds", prefix=self.section)


@dataclass
class StudyCostConfig(Checked):
    """What ``dry_run`` reckons by where this machine cannot be asked, and whose figure that is.

    Args:
        images_per_second: That a device trains on.
        num_images: In the training data, which is not here to be counted.
        source: Of the first, in a sentence.
    """

    section: ClassVar[str] = "study.cost."

    images_per_second: float | None = None
    num_images: int | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "num_images", prefix=self.section)
        if self.images_per_second is not None and not self.images_per_second > 0:
            raise UserError(f"{self.section}images_per_second={self.images_per_second}: expected a positive number")
        if (self.images_per_second is None) != (self.num_images is None):
            raise UserError(f"{self.section}images_per_second and {self.section}num_images: set both, or neither")


@dataclass
class PresetConfig(Checked):
    """What is studied, ``study.*``: the arms, their controls, what is measured, and the claims.

    Args:
        name: Of the study.
        says: What it is, in one sentence.
        seeds: Of the arms; each is trained once for each.
        arms: What is trained, by name.
        fusions: Arms of one seed that are put side by side, by the fusion's name.
        ensembles: The arm of whose seeds all triples are put side by side, by the ensemble's name: controls of width.
        shaped: Arms whose backbones are changed after training, by the name of what comes of it.
        width: How many features every arm is also projected to.
        pretrain: Keys of ``pretrain``, for all arms; ``recipe`` is what ``+recipe`` chooses.
        checkpoints: Of runs that are there; family and seed are in ``args.json`` beside each.
        measure: How invariances are measured.
        tasks: What is scored: names, or mappings with a name, as those of ``transfer``.
        task: What tasks have that say nothing of their own.
        transfer: How tasks are scored.
        fuse_reference: The images that projections are fitted to.
        shape_reference: The images that shaped arms are fitted to.
        claims: What the study is to decide, by name.
        cost: What a dry run reckons by.
    """

    section: ClassVar[str] = "study."

    name: str = "study"
    says: str = "study"
    seeds: list[int] = field(default_factory=lambda: [0])
    arms: dict[str, Any] = field(default_factory=dict)  # StudyArmConfig by name, once checked
    fusions: dict[str, Any] = field(default_factory=dict)
    ensembles: dict[str, str] = field(default_factory=dict)
    shaped: dict[str, Any] = field(default_factory=dict)  # StudyShapedConfig by name, once checked
    width: int = 64
    pretrain: dict[str, Any] = field(default_factory=dict)
    checkpoints: list[FilePath] = field(default_factory=list)
    measure: StudyMeasureConfig = field(default_factory=StudyMeasureConfig)
    tasks: Annotated[list[Any], list[str | TaskConfig]] = field(
        default_factory=list, metadata=chosen_from(plugins="tasks")
    )
    task: StudyTaskConfig = field(default_factory=StudyTaskConfig)
    transfer: StudyTransferConfig = field(default_factory=StudyTransferConfig)
    fuse_reference: FuseReferenceConfig = field(default_factory=FuseReferenceConfig)
    shape_reference: ShapeReferenceConfig = field(default_factory=ShapeReferenceConfig)
    claims: dict[str, Any] = field(default_factory=dict)
    cost: StudyCostConfig = field(default_factory=StudyCostConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "width", prefix=self.section)
        self.arms = {str(name): _arm_from(str(name), entry) for name, entry in self.arms.items()}
        _require_arms(self.arms)
        made = {"fusions": self.fusions, "ensembles": self.ensembles, "shaped": self.shaped}
        _require_names(made, self.arms)
        _require_members(self.fusions, self.ensembles, self.arms)
        self.shaped = {str(name): _shaped_from(str(name), entry, self.arms) for name, entry in self.shaped.items()}


@dataclass
class StudyConfig(Checked):
    """``solo-invariance study``."""

    study: PresetConfig = field(default_factory=PresetConfig)
    seeds: list[int] | None = None
    only: Names = None
    dry_run: bool = False
    expect: Names = None
    device: str = "auto"
    devices: int | None = None
    batch_size: int | None = None
    num_workers: int = 4
    cache: bool = True
    out: FilePath = "runs/study"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "devices", "batch_size")
        require_workers(self)
        for key, seeds in [
            ("seeds", self.seeds),
            ("study.seeds", self.study.seeds),
            *((f"study.arms.{name}.seeds", arm.seeds) for name, arm in self.study.arms.items()),
        ]:
            _require_seeds(key, seeds)
        _require_known("expect", self.expect, ["all", *self.study.claims])

    @property
    def chosen_seeds(self) -> list[int]:
        """The seeds of arms that have none of their own."""
        return self.study.seeds if self.seeds is None else self.seeds

    def seeds_of(self, arm: str) -> list[int]:
        """Return the seeds of an arm: its own, as far as they are among those that were asked for."""
        own = self.study.arms[arm].seeds
        if own is None or self.seeds is None:
            return self.chosen_seeds if own is None else own
        return [seed for seed in own if seed in self.seeds]


def presets() -> list[str]:
    """Return the names of the presets that this package has."""
    folder = files(__package__) / "study"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def require_something_to_do(settings: StudyConfig) -> None:
    """Raise UserError where a study has nothing to train or nothing to score."""
    preset = settings.study
    if not any(settings.seeds_of(name) for name in preset.arms):
        raise UserError("study.arms is empty: name what to train, 'study.arms={ventral: {family: ventral}}'")
    if not preset.tasks:
        raise UserError("study.tasks=[]: name one at least, 'study.tasks=[shape,hue]'")
    if preset.fuse_reference.name is None and preset.fuse_reference.path is None:
        raise UserError("study.fuse_reference: set its path, or its name, latent_scenes")


def _require_seeds(key: str, seeds: list[int] | None) -> None:
    if seeds is None:
        return
    if not seeds:
        raise UserError(f"{key}=[]: name one at least, {key}=[0,1,2]")
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise UserError(f"{key}: {seed}: expected whole numbers from 0 to {2**32 - 1}")
        if seeds.count(seed) > 1:
            raise UserError(f"{key}: {seed} is there twice")


def _arm_from(name: str, entry: Any) -> StudyArmConfig:
    """Return an arm of its keys and values.

    Raises:
        UserError: A key is unknown, or a value is not what it should be.
    """
    if isinstance(entry, StudyArmConfig):
        return entry
    key = f"study.arms.{name}"
    if not isinstance(entry, Mapping):
        raise UserError(f"{key}={entry}: expected keys and values, {{family: {entry or 'ventral'}}}")
    try:
        return _section(key, StudyArmConfig, entry)
    except UserError as error:
        raise UserError(str(error).replace("study.arms.ARM", key)) from error


def _shaped_from(name: str, entry: Any, arms: Mapping[str, StudyArmConfig]) -> StudyShapedConfig:
    """Return a shaped arm of its keys and values.

    Raises:
        UserError: A key is unknown, a value is not what it should be, or it is of no arm.
    """
    key = f"study.shaped.{name}"
    if isinstance(entry, StudyShapedConfig):
        return entry
    if not isinstance(entry, Mapping):
        raise UserError(f"{key}={entry}: expected keys and values, {{of: ARM, mode: erase, transforms: [hue]}}")
    try:
        shaped = _section(key, StudyShapedConfig, entry)
    except UserError as error:
        raise UserError(str(error).replace("study.shaped.NAME", key)) from error
    if shaped.of not in arms:
        raise UserError(f"{key}.of={shaped.of}: there is no such arm{none_of(shaped.of, arms)}")
    return shaped


def _section(key: str, schema: type[Section], entry: Mapping[Any, Any]) -> Section:
    """Return keys and values as their dataclass.

    Raises:
        UserError: A key is unknown, or a value is not what it should be.
    """
    # Here, since completion and help read the schema without these.
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from solo_invariance.config.composed import as_object, literal

    known = [one.name for one in fields(schema)]  # type: ignore[arg-type]
    unknown = next((one for one in entry if one not in known), None)
    if unknown is not None:
        raise UserError(f"{key}: there is no key {unknown!r}{none_of(str(unknown), known)}")
    try:
        return as_object(OmegaConf.merge(OmegaConf.structured(schema), literal(dict(entry))), schema)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {reason_of(error)}") from error


def _require_arms(arms: Mapping[str, StudyArmConfig]) -> None:
    for name, arm in arms.items():
        key = f"study.arms.{name}"
        if not _NAME.fullmatch(str(name)) or name.endswith(" "):
            raise UserError(f"{key}: an arm's name has letters, digits, blanks and .+-_, and no others")
        if arm.role not in ROLES:
            raise UserError(f"{key}.role={arm.role}: choose from {', '.join(ROLES)}")
        if arm.role != "untrained" and arm.family is None:
            raise UserError(f"{key}.family is missing: name one, {key}.family=ventral; role: untrained has none")
        if arm.role == "untrained" and (arm.family is not None or arm.pretrain):
            raise UserError(f"{key}: role: untrained is not trained, and so has no family and no pretrain")


def _require_names(of: Mapping[str, Mapping[str, Any]], arms: Iterable[str]) -> None:
    """Refuse names of fusions and ensembles that are no names, or those of arms or of each other."""
    taken = dict.fromkeys(arms, "study.arms")
    for kind, named in of.items():
        for name in named:
            if not _NAME.fullmatch(str(name)) or name.endswith(" "):
                raise UserError(f"study.{kind}.{name}: a name has letters, digits, blanks and .+-_, and no others")
            if name in taken:
                raise UserError(f"study.{kind}.{name}: {taken[name]} has that name, too; take another")
            taken[name] = f"study.{kind}"


def _require_members(fusions: Mapping[str, Any], ensembles: Mapping[str, str], arms: Mapping[str, Any]) -> None:
    for name, members in fusions.items():
        if not isinstance(members, list) or len(members) < 2:
            raise UserError(f"study.fusions.{name}={members}: name two arms at least, [ventral, dorsal]")
        for member in members:
            _require_arm(f"study.fusions.{name}", member, arms)
    for name, member in ensembles.items():
        _require_arm(f"study.ensembles.{name}", member, arms)


def _require_arm(key: str, name: Any, arms: Mapping[str, Any]) -> None:
    if name not in arms:
        raise UserError(f"{key}: {name} is no arm{none_of(str(name), [*arms])}")


def _require_known(key: str, chosen: Any, known: list[str]) -> None:
    for name in [chosen] if isinstance(chosen, str) else chosen or []:
        if name not in known:
            raise UserError(f"{key}: {name!r} is no claim of the study{none_of(str(name), known)}")
