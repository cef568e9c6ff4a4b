#!/usr/bin/env bash
# Sets up .venv if need be, then trains or evaluates on this machine:
#
#   ./launch/local.sh --config=configs/parts_clevrer.py:demo --workdir=runs/demo
#
#   ./launch/local.sh --list      names all configs, data sets and trained models
#   .venv/bin/python -m parts_jax.main --help      explains the flags, once .venv is there
#
# Works from any directory; relative paths in the arguments start from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
. launch/common.sh
show_help "$@"

trap 'exit 75' TERM  # nothing has begun yet: docs/launch.md has the exit codes
./launch/install.sh
exec .venv/bin/python -m parts_jax.main "$@"
