#!/usr/bin/env bash
# The digits recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/digits/run.sh [key=value ...]              # model.cell=gru, train.seed=1, device=cpu …
#     bash recipes/digits/run.sh heldout=theo [key=value ...] # without one speaker, tested on that speaker
#     MIRROR=folder-or-url DATA=data RUN=runs/digits VERIFY=1 bash recipes/digits/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/options.sh"

asr data prepare "$recipe" "${options[@]}"
if [ -n "$speaker" ]; then
    run=${RUN:-runs/digits-without-$speaker}
    settings=(data.held_out_speaker="$speaker" ${settings[@]+"${settings[@]}"})
    train heldout.yaml train dev
    evaluate "heldout_$speaker" eval
else
    train digits.yaml train dev
    evaluate test_single eval/single --expect 0.01
    evaluate test_noisy eval/noisy
    evaluate test eval --expect 0.01
fi
