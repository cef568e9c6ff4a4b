#!/usr/bin/env bash
# Trains on a Cloud TPU slice of any number of hosts: makes the slice or takes it as it is, copies
# this repository's HEAD to all hosts, installs, runs, shows the log of host 0, and starts again
# what was pre-empted. docs/launch.md walks through a first run.
#
#   TPU_NAME=parts ZONE=us-east5-b PROJECT=my-project ACCELERATOR_TYPE=v6e-16 \
#     RUNTIME_VERSION=v2-alpha-tpuv6e WORKDIR=gs://my-bucket/runs/paper \
#     ./launch/tpu_pod.sh --config=configs/parts_clevrer.py [--dry-run]
#
#   TPU_NAME, ZONE, PROJECT   the slice
#   ACCELERATOR_TYPE          its kind and size, such as v6e-16
#   RUNTIME_VERSION           its system image, such as v2-alpha-tpuv6e
#   WORKDIR                   gs://BUCKET/FOLDER, or a folder that all hosts have mounted
#   SPOT=1                    cheaper hosts, which can be taken away at any time
#   QUEUED=1                  waits in the queue for the slice, as queued resource of the same name
#   DELETE=1                  deletes the slice when the run has ended, however it ended
#   ALLOW_DIRTY=1             sends tracked files as they are now, not as of HEAD
#   MAX_RESTARTS=100          starts again at most so often
#   POLL_SECONDS=30           from one look at the slice's state to the next
#   --dry-run                 prints each command and runs none
#   --stop                    sends TERM to the run on all hosts, which saves and stays ended
#
# Started again: after exit code 75 ("saved after TERM, start me again"), and when the slice is
# PREEMPTED, TERMINATED or gone. Any other exit code ends this script, which passes it on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
. launch/common.sh

SPOT="${SPOT:-0}" QUEUED="${QUEUED:-0}" DELETE="${DELETE:-0}" ALLOW_DIRTY="${ALLOW_DIRTY:-0}"
MAX_RESTARTS="${MAX_RESTARTS:-100}" POLL_SECONDS="${POLL_SECONDS:-30}"
stop=0
if [ "${1:-}" = --stop ]; then
  stop=1
  shift
fi
read_arguments "$@"
need TPU_NAME "the name of the slice"
need ZONE "the zone of the slice, such as us-east5-b"
need PROJECT "the Google Cloud project that pays for the slice"
for switch in SPOT QUEUED DELETE ALLOW_DIRTY; do need_switch "$switch"; done
need_number MAX_RESTARTS 0
need_number POLL_SECONDS 0
where=(--zone="$ZONE" --project="$PROJECT")

on_all_hosts() {  # on_all_hosts COMMAND: returns the code of the first host whose code is not 0
  run gcloud compute tpus tpu-vm ssh "$TPU_NAME" "${where[@]}" --worker=all --batch-size=all \
    --command="$1"
}

if [ "$stop" = 1 ]; then
  need_command gcloud
  on_all_hosts "cd parts_jax && ./launch/tpu_worker.sh stop"
  exit
fi

need ACCELERATOR_TYPE "the kind and size of the slice, such as v6e-16"
need RUNTIME_VERSION "the system image of the hosts, such as v2-alpha-tpuv6e"
need WORKDIR "gs://BUCKET/FOLDER, or a folder that all hosts have mounted"
[[ "$WORKDIR" =~ ^(gs://[^/]+/.+|/.+)$ ]] ||
  fail "WORKDIR must be gs://BUCKET/FOLDER or an absolute path; got '$WORKDIR'."
has_flag config || fail "--config=FILE[:variant] is missing; the files are in configs/."
! has_flag workdir || fail "The workdir is given as WORKDIR=..., not as --workdir=...."
need_command gcloud
need_command git
[ "$ALLOW_DIRTY" = 1 ] || [ "$dry_run" = 1 ] || [ -z "$(git status --porcelain)" ] ||
  fail "There are uncommitted changes, which the hosts would not get: commit them, or set" \
    "ALLOW_DIRTY=1 to send tracked files as they are."

look() {  # look KIND FIELD: sets `state` of the slice, or of its request; NONE if there is none
  local list=(gcloud compute tpus "$1" list "${where[@]}" "--filter=name~/$TPU_NAME\$"
    "--format=value($2)")
  if [ "$dry_run" = 1 ]; then
    quoted "${list[@]}"
    state=NONE
  else
    state="$("${list[@]}")" || fail "gcloud cannot list what $PROJECT has in $ZONE; see above."
    state="${state:-NONE}"
  fi
}

delete() {
  if [ "$QUEUED" = 1 ]; then
    run gcloud compute tpus queued-resources delete "$TPU_NAME" "${where[@]}" --force --quiet
  else
    run gcloud compute tpus tpu-vm delete "$TPU_NAME" "${where[@]}" --quiet
  fi
}

create() {
  local kind=(--accelerator-type="$ACCELERATOR_TYPE")
  [ "$SPOT" = 0 ] || kind+=(--spot)
  if [ "$QUEUED" = 0 ]; then
    run gcloud compute tpus tpu-vm create "$TPU_NAME" "${where[@]}" "${kind[@]}" \
      --version="$RUNTIME_VERSION"
    return
  fi
  look queued-resources state.state
  case "$state" in
    SUSPENDED | FAILED) delete ;;
    NONE)
      run gcloud compute tpus queued-resources create "$TPU_NAME" --node-id="$TPU_NAME" \
        "${where[@]}" "${kind[@]}" --runtime-version="$RUNTIME_VERSION"
      ;;
    *) echo "The request for $TPU_NAME is $state." >&2 ;;
  esac
}

make_ready() {  # returns when there is a slice that is READY
  while true; do
    look tpu-vm state
    case "$state" in
      READY) return ;;
      NONE)
        # What cannot be made the first time is a wrong setting; later, there may be no room.
        create || [ "$restarts" -gt 0 ] || return 1
        [ "$dry_run" = 0 ] || return 0
        ;;
      PREEMPTED | TERMINATED) delete ;;
      STOPPED | UNKNOWN | HIDDEN)
        fail "The slice $TPU_NAME is $state: start or delete it by hand, then run this again."
        ;;
      *) echo "The slice $TPU_NAME is $state." >&2 ;;
    esac
    sleep "$POLL_SECONDS"
  done
}

# From here to the end of the run; `&&`, as bash ignores `set -e` in what is called with `||`.
attempt() {
  make_ready &&
    run git archive --format=tar.gz --output="$archive" "$commit" &&
    run gcloud compute tpus tpu-vm scp "$archive" "$TPU_NAME:parts_jax.tar.gz" "${where[@]}" \
      --worker=all --batch-size=all &&
    on_all_hosts "mkdir -p parts_jax && tar -xzf parts_jax.tar.gz -C parts_jax" &&
    on_all_hosts "cd parts_jax && ./launch/tpu_worker.sh setup $(quoted "$WORKDIR")" &&
    on_all_hosts "cd parts_jax && ./launch/tpu_worker.sh run $(quoted "$WORKDIR" "${arguments[@]}")"
}

# In a dry run a name that nobody can have taken before; it is not made.
archive="$(mktemp -u /tmp/parts_jax.XXXXXXXXXX).tar.gz" commit=HEAD restarts=0
if [ "$dry_run" = 0 ]; then
  archive="$(mktemp -d)/parts_jax.tar.gz"
  [ "$ALLOW_DIRTY" = 0 ] || commit="$(git stash create)"
  commit="${commit:-HEAD}"
fi

while true; do
  code=0
  attempt || code=$?
  [ "$code" != 0 ] || break
  sleep "$POLL_SECONDS"  # a slice that is taken away may still be called READY
  look tpu-vm state
  case "$code $state" in
    75\ * | *\ PREEMPTED | *\ TERMINATED | *\ NONE) ;;
    *) break ;;
  esac
  [ "$restarts" -lt "$MAX_RESTARTS" ] || break
  restarts=$((restarts + 1))
  echo "The run ended with exit code $code, the slice is $state: restart $restarts of" \
    "$MAX_RESTARTS, from the newest checkpoint." >&2
done
if [ "$code" != 0 ]; then
  echo "The run ended with exit code $code, the slice is $state: it is not started again." >&2
fi
[ "$DELETE" = 0 ] || delete
exit "$code"
