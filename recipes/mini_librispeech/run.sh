#!/usr/bin/env bash
# The mini_librispeech recipe: download, prepare, pronunciations, language model, train, tune, evaluate. Steps that are
# already done are skipped.
#
#     bash recipes/mini_librispeech/run.sh [size=gpu] [key=value ...]    # a larger model; model.cell=gru, device=cpu …
#     TEXT="books.txt.xz more.txt" bash recipes/mini_librispeech/run.sh  # a language model of other texts
#     MIRROR=folder-or-url DATA=data RUN=runs/mini_librispeech VERIFY=1 bash recipes/mini_librispeech/run.sh
set -euo pipefail
config=mini_librispeech
case ${1:-} in size=gpu) config=mini_librispeech_gpu && shift ;; esac
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
run=${RUN:-runs/$config}
source "$recipe/../phones.sh"
find_text
asr data prepare "$recipe" "${options[@]}"
make_lexicon dev test
train "$config.yaml" train dev
tune
[ ! -d "$run/model/lm" ] || evaluate test eval/phones --lm none
evaluate test eval
