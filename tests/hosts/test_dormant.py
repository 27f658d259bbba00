"""What the installed package does to programs that do not use it: nothing."""

import json
import subprocess
import sys
from pathlib import Path

import torch

_TRAIN = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch, lightning.pytorch as pl
if "{hide}" == "yes":
    from lightning.pytorch.trainer.connectors import callback_connector
    callback_connector._load_external_callbacks = lambda group: []
before = set(sys.modules)

class Plain(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        noise = torch.rand(1)  # depends on the global random state
        return (self.layer(batch[0]).pow(2) * noise).mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

pl.seed_everything(3)
data = torch.utils.data.TensorDataset(torch.randn(16, 4))
loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
module = Plain()
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                     enable_progress_bar=False, enable_model_summary=False, default_root_dir=sys.argv[1])
trainer.fit(module, loader)
trainer.save_checkpoint(sys.argv[1] + "/{hide}.ckpt")
ours = sorted(name for name in set(sys.modules) - before if name.split(".")[0] in ("solo_invariance", "kornia", "timm"))
print(json.dumps([module.layer.weight.tolist(), torch.rand(3).tolist(), ours]))
"""

_HYDRA = """
import sys
import hydra
from omegaconf import OmegaConf

@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(cfg):
    print(OmegaConf.to_yaml(cfg).strip())
    heavy = {"torch", "torchvision", "lightning", "kornia", "timm", "solo_invariance", "numpy"}
    print(sorted(heavy & set(sys.modules)))

main()
"""


def _run(script: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_plain_lightning_run_is_unchanged(tmp_path: Path) -> None:
    outputs = [
        json.loads(_run(_TRAIN.format(hide=hide), str(tmp_path), cwd=tmp_path).splitlines()[-1])
        for hide in ("yes", "no")
    ]
    (hidden_weights, hidden_random, hidden_modules), (weights, random, modules) = outputs
    assert weights == hidden_weights
    assert random == hidden_random
    assert hidden_modules == []
    # What it costs: a few small modules, nothing heavy.
    assert modules == [
        "solo_invariance",
        "solo_invariance.errors",
        "solo_invariance.hosts",
        "solo_invariance.hosts.callbacks",
        "solo_invariance.hosts.lightning",
        "solo_invariance.hosts.lightning.datasets",
        "solo_invariance.hosts.lightning.families_callback",
        "solo_invariance.hosts.lightning.monitor_callback",
        "solo_invariance.hosts.lightning.monitor_settings",
        "solo_invariance.hosts.lightning.per_trainer",
        "solo_invariance.hosts.lightning.transfer_callback",
    ]
    contents = [torch.load(tmp_path / f"{hide}.ckpt", weights_only=True) for hide in ("yes", "no")]
    assert contents[0].keys() == contents[1].keys()
    assert contents[0]["callbacks"] == contents[1]["callbacks"]


def test_a_plain_hydra_application_is_unchanged_and_imports_nothing_heavy(tmp_path: Path) -> None:
    composed = ["x: 3", "'y':", "  z:", "  - 1", "  - 2"]
    assert _run(_HYDRA, "+x=3", "+y.z=[1,2]", cwd=tmp_path).splitlines() == [*composed, "[]"]
