# Sourced by the scripts of all recipes: reads their arguments and environment, and defines the steps they share.
# Sets recipe (its folder), name, data, run, device, settings (key=value of trainings), options (of asr data prepare).
unset CDPATH  # it makes cd print, and go elsewhere
command -v asr >/dev/null || { echo "error: no asr command; activate its environment first: source .venv/bin/activate" >&2; exit 1; }
case " $* " in *" run="*) echo "error: with a recipe the run folder is RUN=DIR before the command, not run=DIR" >&2; exit 2 ;; esac
recipe=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
name=$(basename "$recipe")
data=${DATA:-data} run=${RUN:-runs/$name} device=auto settings=("$@")
for setting in "$@"; do case $setting in device=*) device=${setting#device=} ;; esac; done

options=(--data "$data")
[ -z "${MIRROR:-}" ] || options+=(--mirror "$MIRROR")
[ -z "${CORPUS:-}" ] || options+=(--from "$CORPUS")
[ "${VERIFY:-1}" != 0 ] || options+=(--no-verify)

finished() { # RUN: a training that stopped at train.max_minutes has no model to evaluate yet
    [ -f "$1/model/config.json" ] || exit 0
}

train() { # CONFIG TRAIN DEV: names of a config and of two manifests
    asr train "$recipe/$1" run="$run" data.train="$data/$name/$2.jsonl" data.dev="$data/$name/$3.jsonl" \
        ${settings[@]+"${settings[@]}"}
    finished "$run"
}

evaluate() { # MANIFEST FOLDER [--expect WER]: a manifest's name, a folder in the run folder
    asr evaluate --model "$run" "$data/$name/$1.jsonl" --device "$device" --output-dir "$run/$2" "${@:3}"
}
