#!/usr/bin/env bash
# Sets up .venv if need be, then runs the tests, or what the arguments name:
#
#   ./launch/test.sh
#   ./launch/test.sh tests/runs/test_configuration.py -k resolution
#
# All tests run in as many processes as there are cores, a file each at a time; named ones in one.
#
# Works from any directory; relative paths in the arguments start from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
. launch/common.sh
show_help "$@"

./launch/install.sh
if [ $# = 0 ]; then
  set -- --numprocesses=logical --maxprocesses=8 --dist=loadfile --no-loadscope-reorder
fi
exec .venv/bin/python -m pytest -q "$@"
