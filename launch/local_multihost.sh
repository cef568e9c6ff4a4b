#!/usr/bin/env bash
# Trains or evaluates in several processes on this machine's CPU, as on so many hosts, to try out
# what a run on many hosts does:
#
#   NUM_PROCESSES=2 DEVICES_PER_PROCESS=1 ./launch/local_multihost.sh --config=FILE --workdir=DIR
#
#   NUM_PROCESSES=2           processes, each of which stands for a host
#   DEVICES_PER_PROCESS=1     devices of each
#   LOG_DIR=...               folder of the logs 0.log, 1.log, ...; else a new one in /tmp
#   GRACE_SECONDS=20          after one process has failed, the others are killed after so long
#   PARTS_JAX_PYTHON=...      a Python that has parts_jax installed; else .venv is set up
#   --dry-run                 prints each command and runs none
#
# The output of process 0 is shown. TERM and Ctrl-C go to all processes, as TERM. The exit code is
# that of the first process that failed, or 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
. launch/common.sh

NUM_PROCESSES="${NUM_PROCESSES:-2}" DEVICES_PER_PROCESS="${DEVICES_PER_PROCESS:-1}"
GRACE_SECONDS="${GRACE_SECONDS:-20}"
read_arguments "$@"
need_number NUM_PROCESSES 1
need_number DEVICES_PER_PROCESS 1
need_number GRACE_SECONDS 0

python="${PARTS_JAX_PYTHON:-.venv/bin/python}"
[ -n "${PARTS_JAX_PYTHON:-}" ] || run ./launch/install.sh
port=12321
if [ "$dry_run" = 0 ]; then
  free="import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"
  port="$("$python" -c "$free")"
  logs="${LOG_DIR:-$(mktemp -d /tmp/parts_jax_logs.XXXXXX)}"
  mkdir -p "$logs"
  echo "The logs of $NUM_PROCESSES processes are in $logs." >&2
fi

export JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$DEVICES_PER_PROCESS"
all=() running=()
signal_all() {  # those that have not ended: the number of one that has may be another's by now
  [ "${#running[@]}" = 0 ] || kill "-$1" "${running[@]}" 2>/dev/null || true
}
told=0
trap 'told=1; signal_all TERM' INT TERM
for ((process = 0; process < NUM_PROCESSES; process++)); do
  command=("$python" -m parts_jax.main "${arguments[@]}" --coordinator_address="localhost:$port"
    --num_processes="$NUM_PROCESSES" --process_id="$process")
  if [ "$dry_run" = 1 ]; then
    quoted env JAX_PLATFORMS=cpu XLA_FLAGS="$XLA_FLAGS" "${command[@]}"
  else
    "${command[@]}" >"$logs/$process.log" 2>&1 &
    all+=($!) running+=($!)
  fi
done
[ "$dry_run" = 0 ] || exit 0

tail -n +1 -f --pid="${all[0]}" "$logs/0.log" &
follower=$!

# Looked at in turn, as bash's `wait -n` forgets one of two that end at the same time.
first_failure=0 killed_at=""
while [ "${#running[@]}" -gt 0 ]; do
  sleep 0.1
  left=()
  for pid in "${running[@]}"; do
    code=0
    if kill -0 "$pid" 2>/dev/null; then
      left+=("$pid")
      continue
    fi
    wait "$pid" || code=$?
    [ "$told" = 0 ] || as_told "$code" || code=$?
    if [ "$code" != 0 ] && [ "$first_failure" = 0 ]; then
      first_failure="$code"
    fi
  done
  running=("${left[@]}")
  if [ "$first_failure" != 0 ] && [ -z "$killed_at" ]; then
    signal_all TERM
    killed_at=$((SECONDS + GRACE_SECONDS))
  elif [ -n "$killed_at" ] && [ "$SECONDS" -gt "$killed_at" ]; then
    signal_all KILL
  fi
done
wait "$follower" || true
exit "$first_failure"
