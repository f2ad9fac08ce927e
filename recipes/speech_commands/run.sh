#!/usr/bin/env bash
# The speech_commands recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/speech_commands/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/speech_commands VERIFY=1 bash recipes/speech_commands/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
train speech_commands.yaml train dev
evaluate test eval
