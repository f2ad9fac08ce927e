#!/usr/bin/env bash
# The yesno recipe: download, prepare, train, evaluate. What is already done is skipped.
#
#     bash recipes/yesno/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/yesno VERIFY=1 bash recipes/yesno/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${DATA:-data} run=${RUN:-runs/yesno}

options=(--data "$data")
[ -z "${MIRROR:-}" ] || options+=(--mirror "$MIRROR")
[ "${VERIFY:-1}" != 0 ] || options+=(--no-verify)
asr data prepare "$recipe" "${options[@]}"

train_and_test() { # PREFIX RUN [key=value ...]: PREFIX names one of the two splits
    local prefix=$1 folder=$2
    shift 2
    asr train "$recipe/yesno.yaml" run="$folder" data.train="$data/yesno/${prefix}train.jsonl" data.dev="$data/yesno/${prefix}dev.jsonl" "$@"
}
train_and_test "" "$run" "$@"
asr evaluate --model "$run" "$data/yesno/test.jsonl" --output-dir "$run/eval" --expect 0.0042
train_and_test kaldi_ "$run/kaldi" "$@"
asr evaluate --model "$run/kaldi" "$data/yesno/kaldi_test.jsonl" --output-dir "$run/eval/kaldi" --expect 0.0084
