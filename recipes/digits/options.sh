# For run.sh and pretrained.sh, which source it: checks and reads what was given.
# Sets recipe, data, speaker (of heldout=), device, settings (key=value of trainings), options (of asr data prepare).
command -v asr >/dev/null || { echo "error: no asr command; activate its environment first: source .venv/bin/activate" >&2; exit 1; }
case " $* " in *" run="*) echo "error: with a recipe the run folder is RUN=DIR before the command, not run=DIR" >&2; exit 2 ;; esac
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${DATA:-data}

speaker='' device=auto settings=()
for setting in "$@"; do
    case $setting in
    heldout=?*) speaker=${setting#heldout=} ;;
    heldout=) echo "error: heldout= wants a speaker's name, as in heldout=theo" >&2; exit 2 ;;
    device=*) device=${setting#device=} settings+=("$setting") ;;
    *) settings+=("$setting") ;;
    esac
done

options=(--data "$data")
[ -z "${MIRROR:-}" ] || options+=(--mirror "$MIRROR")
[ "${VERIFY:-1}" != 0 ] || options+=(--no-verify)

finished() { # RUN: a training that stopped after train.max_minutes has nothing to evaluate yet
    [ -f "$1/model/config.json" ] || exit 0
}
