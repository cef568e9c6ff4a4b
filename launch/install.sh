#!/usr/bin/env bash
# Makes .venv beside this folder and installs the locked packages and parts_jax into it.
# Does nothing when the same lock is installed already. Called by the other launchers.
#
#   PYTHON=/path/to/python3.12   which Python to use; else python3.11, python3.12 or python3
#   PARTS_JAX_EXTRAS=cuda        also install these extras of setup.py: cuda or tpu
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
. launch/common.sh
show_help "$@"

venv=.venv
stamp="$venv/installed"
extras="${PARTS_JAX_EXTRAS:-}"

suited() {  # suited PYTHON: does it run, and is it 3.11 or 3.12?
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3; do
    if suited "$candidate"; then
      command -v "$candidate"
      return
    elif [ "$candidate" = "${PYTHON:-}" ]; then
      break
    fi
  done
  echo "parts_jax needs Python 3.11 or 3.12, and found none: tried ${PYTHON:-python3.11, python3.12" \
    "and python3}. Install one, or name one: PYTHON=/path/to/python3.12 $0" >&2
  return 1
}

wanted="$(cat requirements.txt setup.py | cksum) extras=$extras"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && suited "$venv/bin/python"; then
  exit 0
fi

if ! suited "$venv/bin/python"; then
  python="$(find_python)"
  echo "Making $venv with $python." >&2
  if command -v uv >/dev/null; then
    UV_VENV_CLEAR=1 uv venv --quiet --seed --python "$python" "$venv"
  else
    "$python" -m venv --clear "$venv"
  fi
fi

if command -v uv >/dev/null; then
  install=(uv pip install --quiet --python "$venv/bin/python")
else
  install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517)
fi
rm -f "$stamp"
echo "Installing the packages of requirements.txt into $venv; this takes a minute the first time." >&2
"${install[@]}" --require-hashes -r requirements.txt
"${install[@]}" --no-deps --no-build-isolation -e .
if [ -n "$extras" ]; then
  "${install[@]}" --no-build-isolation -e ".[$extras]"
fi
echo "$wanted" >"$stamp"
