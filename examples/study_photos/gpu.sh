#!/usr/bin/env bash
# The study on photographs with a larger network, on one GPU: four seeds of ResNet-18 at 64 pixels.
# Usage, where photos/ is: bash gpu.sh [OVERRIDES], such as dry_run=true or out=runs/other
set -euo pipefail
exec solo-invariance study study=photos device=auto out=runs/study_photos_gpu 'seeds=[0,1,2,3]' \
  study.pretrain.backbone.name=resnet18 study.pretrain.invariance.crop_size=64 study.pretrain.max_epochs=2 \
  study.pretrain.optimizer.batch_size=512 study.pretrain.precision=bf16-mixed \
  'study.arms={default: {family: default}, ventral: {family: ventral}, dorsal: {family: dorsal}, identity: {family: identity}, untrained: {role: untrained}, default x3: {family: default, role: wide, backbone: resnet18w3, seeds: [0,1]}}' \
  study.measure.reference.num_images=24576 study.fuse_reference.num_images=24576 "$@"
