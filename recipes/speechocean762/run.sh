#!/usr/bin/env bash
# The speechocean762 recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     bash recipes/speechocean762/run.sh [key=value ...]          # model.cell=gru, train.seed=1, device=cpu …
#     MIRROR=folder-or-url DATA=data RUN=runs/speechocean762 VERIFY=1 bash recipes/speechocean762/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
train speechocean762.yaml train dev
evaluate test eval
