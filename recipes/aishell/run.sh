#!/usr/bin/env bash
# The aishell recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/aishell/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/aishell VERIFY=1 bash recipes/aishell/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
train aishell.yaml train dev
evaluate test eval
