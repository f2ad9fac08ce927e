#!/usr/bin/env bash
# The digits recipe: download, prepare, train, evaluate. What is already done is skipped.
#
#     bash recipes/digits/run.sh [key=value ...]              # model.cell=gru, train.seed=1, device=cpu …
#     bash recipes/digits/run.sh heldout=theo [key=value ...] # without one speaker, tested on that one
#     MIRROR=folder-or-url DATA=data RUN=runs/digits VERIFY=1 bash recipes/digits/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/options.sh"

asr data prepare "$recipe" "${options[@]}"
manifests=(data.train="$data/digits/train.jsonl" data.dev="$data/digits/dev.jsonl")
if [ -n "$speaker" ]; then
    run=${RUN:-runs/digits-without-$speaker}
    asr train "$recipe/heldout.yaml" run="$run" "${manifests[@]}" data.heldout="$speaker" ${settings[@]+"${settings[@]}"}
    finished "$run"
    asr evaluate --model "$run" "$data/digits/heldout_$speaker.jsonl" --device "$device" --output-dir "$run/eval"
else
    run=${RUN:-runs/digits}
    asr train "$recipe/digits.yaml" run="$run" "${manifests[@]}" ${settings[@]+"${settings[@]}"}
    finished "$run"
    asr evaluate --model "$run" "$data/digits/test_single.jsonl" --device "$device" --output-dir "$run/eval/single" --expect 0.01
    asr evaluate --model "$run" "$data/digits/test_noisy.jsonl" --device "$device" --output-dir "$run/eval/noisy"
    asr evaluate --model "$run" "$data/digits/test.jsonl" --device "$device" --output-dir "$run/eval" --expect 0.01
fi
