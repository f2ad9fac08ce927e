#!/usr/bin/env bash
# The digits recipe: download, prepare, train, evaluate. What is already done is skipped.
#
#     bash recipes/digits/run.sh [key=value ...]              # model.cell=gru, train.seed=1, device=cpu …
#     bash recipes/digits/run.sh heldout=theo [key=value ...] # without one speaker, tested on that one
#     MIRROR=folder-or-url DATA=data RUN=runs/digits VERIFY=1 bash recipes/digits/run.sh
set -euo pipefail
command -v asr >/dev/null || { echo "error: no asr command; activate its environment first: source .venv/bin/activate" >&2; exit 1; }
case " $* " in *" run="*) echo "error: with a recipe the run folder is RUN=DIR before the command, not run=DIR" >&2; exit 2 ;; esac
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${DATA:-data}

speaker='' device=auto settings=()
for setting in "$@"; do
    case $setting in
    heldout=?*) speaker=${setting#heldout=} ;;
    heldout=) echo "error: heldout= wants a speaker's name, as in heldout=theo" >&2; exit 2 ;;
    device=*) device=${setting#device=} settings+=("$setting") ;;
    *) settings+=("$setting") ;;
    esac
done

options=(--data "$data")
[ -z "${MIRROR:-}" ] || options+=(--mirror "$MIRROR")
[ "${VERIFY:-1}" != 0 ] || options+=(--no-verify)

finished() { # RUN: a training that stopped after train.max_minutes has nothing to evaluate yet
    [ -f "$1/model/config.json" ] || exit 0
}

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
