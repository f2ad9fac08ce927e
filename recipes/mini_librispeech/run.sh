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

read -rd '' -a texts <<<"${TEXT:-}" || true # names, divided by any white space
for text in ${texts[@]+"${texts[@]}"}; do
    [ -r "$text" ] || { echo "error: $text: no such file (TEXT); names are divided by spaces" >&2 && exit 2; }
done
if [ -d "$made/lm" ] && [ ${#texts[@]} -gt 0 ]; then
    echo "note: TEXT is not used: $made/lm is there; delete it and $made/lexicon.dict for another one" >&2
elif [ ! -d "$made/lm" ] && [ ${#texts[@]} = 0 ]; then # first of all, as it may fail
    all=$(asr lm download --data "$data" ${MIRROR:+--mirror "$MIRROR"}) || {
        echo "or name texts of your own, one sentence a line: TEXT=\"books.txt.xz more.txt\"" >&2
        exit 1
    }
fi

asr data prepare "$recipe" "${options[@]}"

dictionary=$(asr lexicon download --output "$data/cmudict")
[ -d "$made/g2p" ] || asr lexicon train "$dictionary" --output "$made/g2p"
if [ ! -d "$made/lm" ]; then
    if [ ${#texts[@]} = 0 ]; then # one sentence in 16 of 803 million words
        texts=("$made/text.txt.gz")
        gzip -cd "$all" | awk 'NR % 16 == 1' | gzip -1 >"${texts[0]}"
    fi
    asr lm train "${texts[@]}" --without "$made/dev.jsonl" --without "$made/test.jsonl" --order 3 --min-count 3 \
        --output "$made/lm"
fi
[ -f "$made/lexicon.dict" ] || asr lexicon make "$made/lm" "$made/train.jsonl" --dict "$dictionary" --g2p "$made/g2p" \
    --output "$made/lexicon.dict"

settings=(data.lexicon="$made/lexicon.dict" data.lm="$made/lm" data.g2p="$made/g2p" ${settings[@]+"${settings[@]}"})
train "$config.yaml" train dev
own=$run/model/lm
if [ -d "$own" ]; then # of a model of phones
    asr lm tune "$own" "$made/dev.jsonl" --model "$run" --device "$device"
    evaluate test eval/phones --lm none
fi
evaluate test eval
