#!/usr/bin/env bash
# What each corpus contributes to the built-in model: short trainings without it, from the model that pretrained.sh made
# of mini_librispeech, compared on the same recordings. Run pretrained.sh first; 6 hours on a CPU core.
#
#     bash recipes/english/ablation.sh [key=value ...]     # train.epochs=4, train.seed=1 …
#     DATA=data RUN=runs/english-pretrained bash recipes/english/ablation.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
base=${RUN:-runs/english-pretrained}
made=$data/english
[ -f "$base/mini/model/config.json" ] || { echo "error: $base/mini: not there; run pretrained.sh first" >&2; exit 1; }

without() { # CORPUS [key=value ...]: learn all but one corpus
    [ "$1" = nothing ] || [ "$1" = noise ] || grep -q "\"corpus\": \"$1\"" "$made/train.jsonl" || return 0
    run=$base/ablation/$1
    mkdir -p "$run"
    grep -v "\"corpus\": \"$1\"" "$made/train_words.jsonl" >"$made/without_$1.jsonl"
    asr train "$recipe/english.yaml" run="$run" train.init="$base/mini" data.train="$made/without_$1.jsonl" \
        data.dev="$made/dev.jsonl" data.lexicon="$made/lexicon.dict" data.lm="$made/lm" data.g2p="$made/g2p" \
        train.epochs=2 train.ctc_epochs=0 train.sortagrad=false train.lr=1.2e-3 "${@:2}" ${settings[@]+"${settings[@]}"}
    finished "$run"
    for set in test test_common_voice test_speechocean762; do
        [ -f "$made/$set.jsonl" ] || continue
        asr evaluate --model "$run" "$made/$set.jsonl" --device "$device" --output-dir "$run/$set"
        [ "$1" = nothing ] || asr compare "$base/ablation/nothing/$set" "$run/$set"
    done
}
noise=(augment.noise.prob=0.4)
[ ! -f "$made/noise.jsonl" ] || noise+=("augment.noise.manifest=$made/noise.jsonl")
without nothing "${noise[@]}"
for corpus in common_voice common_voice_machine speechocean762 ljspeech kathleen sounds; do
    without "$corpus" "${noise[@]}"
done
without noise augment.noise.prob=0
