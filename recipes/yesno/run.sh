#!/usr/bin/env bash
# The yesno recipe: download, prepare, train, evaluate. What is already done is skipped.
#
#     bash recipes/yesno/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/yesno VERIFY=1 bash recipes/yesno/run.sh
set -euo pipefail
command -v asr >/dev/null || { echo "error: no asr command; activate its environment first: source .venv/bin/activate" >&2; exit 1; }
case " $* " in *" run="*) echo "error: with a recipe the run folder is RUN=DIR before the command, not run=DIR" >&2; exit 2 ;; esac
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${DATA:-data} run=${RUN:-runs/yesno}

options=(--data "$data")
[ -z "${MIRROR:-}" ] || options+=(--mirror "$MIRROR")
[ "${VERIFY:-1}" != 0 ] || options+=(--no-verify)
device=auto
for setting in "$@"; do case $setting in device=*) device=${setting#device=} ;; esac; done

finished() { # RUN: a training that stopped after train.max_minutes has nothing to evaluate yet
    [ -f "$1/model/config.json" ] || exit 0
}

asr data prepare "$recipe" "${options[@]}"

split() { # PREFIX RUN EVALUATION EXPECTED [key=value ...]: train and test on one of the two splits
    local prefix=$1 folder=$2 output=$3 expected=$4
    shift 4
    asr train "$recipe/yesno.yaml" run="$folder" \
        data.train="$data/yesno/${prefix}train.jsonl" data.dev="$data/yesno/${prefix}dev.jsonl" "$@"
    finished "$folder"
    asr evaluate --model "$folder" "$data/yesno/${prefix}test.jsonl" --device "$device" --output-dir "$output" --expect "$expected"
}
split kaldi_ "$run/kaldi" "$run/eval/kaldi" 0.0084 "$@"
split "" "$run" "$run/eval" 0.0042 "$@"
