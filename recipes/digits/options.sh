# Sourced by run.sh and pretrained.sh: reads heldout=SPEAKER in addition to what ../options.sh reads.
# Sets speaker, and what ../options.sh sets; settings does not contain heldout=.
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

speaker='' settings=()
for setting in "$@"; do
    case $setting in
    heldout=?*) speaker=${setting#heldout=} ;;
    heldout=) echo "error: heldout= wants a speaker's name, as in heldout=theo" >&2; exit 2 ;;
    *) settings+=("$setting") ;;
    esac
done
