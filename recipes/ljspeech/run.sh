#!/usr/bin/env bash
# The ljspeech recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/ljspeech/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/ljspeech VERIFY=1 bash recipes/ljspeech/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
train ljspeech.yaml train dev
evaluate test eval
