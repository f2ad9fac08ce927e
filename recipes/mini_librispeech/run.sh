#!/usr/bin/env bash
# The mini_librispeech recipe: download, prepare, train, evaluate. What is already done is skipped.
#
#     bash recipes/mini_librispeech/run.sh [size=gpu] [key=value ...]    # a larger model; model.cell=gru, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/mini_librispeech VERIFY=1 bash recipes/mini_librispeech/run.sh
set -euo pipefail
config=mini_librispeech
case ${1:-} in size=gpu) config=mini_librispeech_gpu && shift ;; esac
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
run=${RUN:-runs/$config}

asr data prepare "$recipe" "${options[@]}"
train "$config.yaml" train dev
evaluate test eval
