#!/usr/bin/env bash
# Sets up .venv if need be, then runs the tests, or what the arguments name:
#
#   ./launch/test.sh
#   ./launch/test.sh tests/test_configuration.py -k resolution
#
# Works from any directory; relative paths in the arguments start from the repository's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./launch/install.sh
exec .venv/bin/python -m pytest -q "$@"
