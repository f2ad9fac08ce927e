#!/usr/bin/env bash
# A model like the built-in one: learn phones from mini_librispeech, go on with all corpora twice, the second time from a
# rate that has risen again, store the weights in 8 bits, tune, evaluate. Steps that are already done are skipped.
#
#     bash recipes/english/pretrained.sh [key=value ...]           # device=cuda …: for all trainings
#     TEXT=… MIRROR=folder-or-url DATA=data RUN=runs/english-pretrained bash recipes/english/pretrained.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
run=${RUN:-runs/english-pretrained}
run=${run%/}
go_on=(train.ctc_epochs=0 train.sortagrad=false train.lr=1.2e-3 train.warmup_ratio=0.03)

RUN=$run/mini bash "$recipe/../mini_librispeech/run.sh" ${settings[@]+"${settings[@]}"}
finished "$run/mini"
RUN=$run/first bash "$recipe/run.sh" train.init="$run/mini" train.epochs=5 "${go_on[@]}" ${settings[@]+"${settings[@]}"}
finished "$run/first"
RUN=$run/more bash "$recipe/run.sh" train.init="$run/first" train.epochs=6 "${go_on[@]}" ${settings[@]+"${settings[@]}"}
finished "$run/more"
packed=$run/int8
best=$run/more/checkpoints/averaged.pt # there if it was better than the best epoch
[ -f "$best" ] || best=$run/more/checkpoints/best.pt
[ -f "$packed/config.json" ] || asr make-model "$best" "$packed" --weights int8
asr lm tune "$packed/lm" "$data/english/dev.jsonl" --model "$packed" --device "$device"
for set in common_voice speechocean762 ljspeech sounds; do
    [ ! -f "$data/english/test_$set.jsonl" ] || asr evaluate --model "$packed" "$data/english/test_$set.jsonl" \
        --device "$device" --output-dir "$run/eval/$set"
done
asr evaluate --model "$packed" "$data/english/test.jsonl" --device "$device" --output-dir "$run/eval"
