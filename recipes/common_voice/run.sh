#!/usr/bin/env bash
# The common_voice recipe: download, prepare, train, evaluate. Steps that are already done are skipped.
#
#     CORPUS=cv-corpus-21.0-2025-03-14-cy.tar.gz bash recipes/common_voice/run.sh [key=value ...]
#     MIRROR=folder DATA=data RUN=runs/common_voice bash recipes/common_voice/run.sh
#
# CORPUS: the release's archive, its signed URL, or the folder in which you unpacked it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../options.sh"

asr data prepare "$recipe" "${options[@]}"
train common_voice.yaml train dev
evaluate test eval
