#!/usr/bin/env bash
# The yesno recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/yesno/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/yesno VERIFY=1 bash recipes/yesno/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
headline=$run
run=$headline/kaldi
train yesno.yaml kaldi_train kaldi_dev
asr evaluate --model "$run" "$data/yesno/kaldi_test.jsonl" --device "$device" --output-dir "$headline/eval/kaldi" --expect 0.0167
run=$headline
train yesno.yaml train dev
evaluate test eval --expect 0.0042
