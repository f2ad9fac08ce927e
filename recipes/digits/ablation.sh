#!/usr/bin/env bash
# What each ingredient of the built-in model's base contributes: short trainings without it, tested on strings of the
# six speakers and of synthesizers that are new to all of them. Run pretrained.sh first; 35 minutes on a CPU core.
#
#     bash recipes/digits/ablation.sh [key=value ...]      # train.epochs=8, train.seed=1 …
#     DATA=data RUN=runs/digits-pretrained bash recipes/digits/ablation.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"
base=${RUN:-runs/digits-pretrained}
[ -f "$base/read/base_train.jsonl" ] || { echo "error: $base/read/base_train.jsonl: not found; run pretrained.sh first" >&2; exit 1; }

without() { # NAME [key=value ...]
    run=$base/ablation/$1
    asr train "$recipe/pretrained_base.yaml" run="$run" augment.noise.manifest="$data/voices/noise.jsonl" \
        data.train="$base/read/base_train.jsonl" data.dev="$data/voices/base_dev.jsonl" \
        train.epochs=4 "${@:2}" ${settings[@]+"${settings[@]}"}
    finished "$run"
    asr evaluate --model "$run" "$data/digits/test.jsonl" --device "$device" --output-dir "$run/six"
    asr evaluate --model "$run" "$data/voices/test_voices.jsonl" --device "$device" --output-dir "$run/voices"
}
speech=train.init=$base/speech
grep -v '"source": "espeak"' "$base/read/base_train.jsonl" > "$base/read/no_espeak.jsonl"
without nothing "$speech"
without read-speech train.init= 'train.freeze=[]'
without freezing "$speech" 'train.freeze=[]'
without readers-digits "$speech" data.train="$data/voices/base_train.jsonl"
without espeak "$speech" data.train="$base/read/no_espeak.jsonl"
without trimming "$speech" compose.trim_prob=0
without vocal-tracts-and-microphones "$speech" 'augment.vtlp=[1,1]' augment.random_eq_db=0
without noise "$speech" augment.noise.prob=0
without rooms-lines-codecs-clipping "$speech" augment.reverb.prob=0 augment.bandpass.prob=0 augment.telephone.prob=0 augment.clipping.prob=0
without masks "$speech" augment.time_mask.count=0 augment.frequency_mask.count=0
without depth train.init= 'train.freeze=[]' model.layers=2 model.hidden_size=128
