#!/usr/bin/env bash
# What launch/tpu_pod.sh calls on each host of a slice, in the copy of the repository there:
#
#   ./launch/tpu_worker.sh setup WORKDIR              installs; mounts the bucket of gs://...
#   ./launch/tpu_worker.sh run WORKDIR --config=...   trains, with the output in ~/parts_jax.log,
#                                                     which host 0 shows, too
#   ./launch/tpu_worker.sh stop                       sends TERM to the run, which then counts as
#                                                     ended
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
. launch/common.sh
show_help "$@"

buckets="$HOME/parts_jax_buckets" log="$HOME/parts_jax.log" lock="$HOME/.parts_jax.lock"
pid_file="$HOME/.parts_jax.pid" stopped="$HOME/.parts_jax.stopped"

install_python() {  # system images come with Python 3.10, which is too old
  command -v python3.12 || command -v python3.11 || {
    python3 -m pip install --quiet --user uv >&2
    "$HOME/.local/bin/uv" python install --quiet 3.12 >&2
    "$HOME/.local/bin/uv" python find 3.12
  }
}

install_gcsfuse() {  # as Cloud Storage FUSE's documentation says
  local key=/usr/share/keyrings/cloud.google.asc
  local source
  source="https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -c -s) main"
  curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$key" >/dev/null
  echo "deb [signed-by=$key] $source" | sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  sudo apt-get -qq update
  sudo apt-get -qq install -y gcsfuse
}

mount_bucket() {  # mount_bucket gs://BUCKET/...
  local bucket="${1#gs://}"
  bucket="${bucket%%/*}"
  ! mountpoint -q "$buckets/$bucket" || return 0
  command -v gcsfuse >/dev/null || install_gcsfuse
  mkdir -p "$buckets/$bucket"
  # orbax renames a finished checkpoint's folder, which without a limit gcsfuse refuses.
  gcsfuse --implicit-dirs --rename-dir-limit=100000 "$bucket" "$buckets/$bucket"
}

setup() {
  local python
  python="$(install_python)"
  PYTHON="$python" PARTS_JAX_EXTRAS=tpu ./launch/install.sh
  [[ "$1" != gs://* ]] || mount_bucket "$1"
}

number() {  # of this host in the slice, as its metadata server says
  curl -fsS -H "Metadata-Flavor: Google" \
    http://metadata.google.internal/computeMetadata/v1/instance/attributes/agent-worker-number
}

train() {
  local workdir="${1/#gs:\/\//$buckets/}" show=(true) host pid code=0
  shift
  exec 9>"$lock"
  flock -n 9 || fail "A run is going on on this host; launch/tpu_pod.sh --stop ends it."
  host="$(number)"
  : >"$log"
  rm -f "$stopped"
  catch_term
  .venv/bin/python -m parts_jax.main "$@" --workdir="$workdir" >>"$log" 2>&1 9>&- &
  pid=$!
  echo "$pid $(started "$pid" || true)" >"$pid_file"
  [ "$host" != 0 ] || show=(tail -n +1 -f --pid="$pid" "$log")
  "${show[@]}" 9>&- &
  forward_term "$pid" || code=$?  # TERM comes when the host is taken away
  wait
  if [ "$code" = 75 ] && [ -f "$stopped" ]; then  # by hand: it is not to be started again
    echo "Stopped; the same command goes on from the newest checkpoint." >&2
    code=0
  fi
  [ "$code" = 0 ] || [ "$host" = 0 ] || tail -n 20 "$log" >&2
  return "$code"
}

stop() {
  local pid="" began=""
  : >"$stopped"
  [ ! -f "$pid_file" ] || read -r pid began <"$pid_file" || true
  if is_run "$pid" "$began"; then
    kill -TERM "$pid" 2>/dev/null || true
  else
    echo "No run is going on on this host." >&2
  fi
}

case "${1:-}" in
  setup | run) [ -n "${2:-}" ] || fail "WORKDIR is missing after '$1'." ;;
  stop) ;;
  *) fail "The first argument must be setup, run or stop; got '${1:-}'." ;;
esac
case "$1" in
  setup) setup "$2" ;;
  run) train "${@:2}" ;;
  stop) stop ;;
esac
