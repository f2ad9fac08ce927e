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
run=${RUN:-runs/$config} made=$data/$name

asr data prepare "$recipe" "${options[@]}"

dictionary=$(asr lexicon download --output "$data/cmudict")
[ -d "$made/g2p" ] || asr lexicon train "$dictionary" --output "$made/g2p"
if [ ! -d "$made/lm" ]; then
    read -ra texts <<<"${TEXT:-}"
    if [ ${#texts[@]} = 0 ]; then # one sentence in 16 of 803 million words
        all=$(asr lm download --data "$data" ${MIRROR:+--mirror "$MIRROR"}) || {
            echo "or name texts of your own, one sentence a line: TEXT=\"books.txt.xz more.txt\"" >&2
            exit 1
        }
        texts=("$made/text.txt.gz")
        gzip -cd "$all" | awk 'NR % 16 == 1' | gzip -1 >"${texts[0]}"
    fi
    asr lm train "${texts[@]}" --without "$made/dev.jsonl" --order 3 --min-count 3 --output "$made/lm"
fi
[ -f "$made/lexicon.dict" ] || asr lexicon make "$made/lm" "$made/train.jsonl" --dict "$dictionary" --g2p "$made/g2p" \
    --output "$made/lexicon.dict"

settings=(data.lexicon="$made/lexicon.dict" data.lm="$made/lm" data.g2p="$made/g2p" ${settings[@]+"${settings[@]}"})
train "$config.yaml" train dev
own=$run/model/lm
if [ -d "$own" ]; then # of a model of phones
    grep -q '"lm_weight"' "$own/lm.json" || asr lm tune "$own" "$made/dev.jsonl" --model "$run" --device "$device"
    evaluate test eval/phones --lm none
fi
evaluate test eval
