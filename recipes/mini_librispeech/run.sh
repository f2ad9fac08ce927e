#!/usr/bin/env bash
# The mini_librispeech recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/mini_librispeech/run.sh [size=gpu] [key=value ...]    # a larger model; model.cell=gru, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/mini_librispeech VERIFY=1 bash recipes/mini_librispeech/run.sh
set -euo pipefail
config=mini_librispeech
case ${1:-} in size=gpu) config=mini_librispeech_gpu && shift ;; esac
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
run=${RUN:-runs/$config}

asr data prepare "$recipe" "${options[@]}"
if [ "$config" = mini_librispeech ]; then # letters first, then augmentation
    first=$run/first
    asr train "$recipe/first.yaml" run="$first" data.train="$data/$name/train.jsonl" data.dev="$data/$name/dev.jsonl" \
        ${settings[@]+"${settings[@]}"}
    if [ ! -f "$first/model/config.json" ]; then
        [ "$(grep -c '"kind": "epoch"' "$first/metrics.jsonl")" = 26 ] || exit 0 # it was stopped early
        asr make-model "$first/checkpoints/best.pt" "$first/model"
    fi
    settings+=("train.init=$first/model")
fi
train "$config.yaml" train dev
evaluate test eval
