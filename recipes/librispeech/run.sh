#!/usr/bin/env bash
# The librispeech recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/librispeech/run.sh [hours=960] [key=value ...]     # 100 hours, or 960; model.cell=gru, device=cuda …
#     MIRROR=folder-or-url DATA=data RUN=runs/librispeech VERIFY=1 bash recipes/librispeech/run.sh
set -euo pipefail
hours=100
case ${1:-} in hours=*) hours=${1#hours=} && shift ;; esac
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

evaluated=dev-clean,dev-other,test-clean,test-other
case $hours in
100) archives=train-clean-100,$evaluated manifest=train-clean-100 ;;
960) archives=train-clean-100,train-clean-360,train-other-500,$evaluated manifest=train run=${RUN:-runs/librispeech-960} ;;
*) echo "error: hours=$hours: there are hours=100 and hours=960" >&2 && exit 2 ;;
esac
asr data prepare "$recipe" "${options[@]}" --parts "$archives"
train "librispeech_$hours.yaml" "$manifest" dev-clean
for part in dev-other dev-clean test-other; do evaluate "$part" "eval/$part"; done
evaluate test-clean eval
