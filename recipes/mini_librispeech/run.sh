#!/usr/bin/env bash
# The mini_librispeech recipe: download, prepare, train, evaluate. What is already done is skipped.
#
#     bash recipes/mini_librispeech/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/mini_librispeech VERIFY=1 bash recipes/mini_librispeech/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
train mini_librispeech.yaml train dev
evaluate test eval
