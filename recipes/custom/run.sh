#!/usr/bin/env bash
# The custom recipe: read your folder, check, train, evaluate. Steps that are already done are skipped.
#
#     CORPUS=~/recordings bash recipes/custom/run.sh [key=value ...]          # model.cell=gru, train.epochs=60 …
#     CORPUS=folder DATA=data RUN=runs/custom bash recipes/custom/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
asr data check "$data/$name"/{train,dev}.jsonl --against "$data/$name/test.jsonl" --config "$recipe/$name.yaml" \
    ${settings[@]+"${settings[@]}"}
train "$name.yaml" train dev
evaluate test eval
