#!/usr/bin/env bash
# The english recipe: download, prepare, pronunciations, language model, train, tune, evaluate by kind of speech. Steps
# that are already done are skipped.
#
#     bash recipes/english/run.sh [size=gpu] [key=value ...]              # a larger model; train.init=runs/mini_librispeech …
#     TEXT="books.txt.xz more.txt" bash recipes/english/run.sh            # a language model of other texts
#     MIRROR=folder-or-url DATA=data RUN=runs/english VERIFY=1 bash recipes/english/run.sh
set -euo pipefail
config=english
case ${1:-} in size=gpu) config=english_gpu && shift ;; esac
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
run=${RUN:-runs/$config}
source "$recipe/../phones.sh"
find_text
asr data prepare "$recipe" "${options[@]}"
[ -f "$made/train_words.jsonl" ] || python "$recipe/words.py" "$made/train.jsonl" "$made/train_words.jsonl"
[ -f "$made/numbers.txt" ] || python "$recipe/spoken_numbers.py" "$made/numbers.txt"
more_texts=("$made/train.jsonl" "$made/numbers.txt")
lm_options+=(--megabytes 12.5) g2p_options=(--order 6) # the built-in model carries both
make_lexicon dev test test_common_voice test_speechocean762 test_ljspeech
[ ! -f "$made/noise.jsonl" ] || settings=(augment.noise.manifest="$made/noise.jsonl" "${settings[@]}")
train "$config.yaml" train_words dev
tune
for set in common_voice speechocean762 ljspeech sounds; do
    [ ! -f "$made/test_$set.jsonl" ] || evaluate "test_$set" "eval/$set"
done
evaluate test eval
