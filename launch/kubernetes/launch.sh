#!/usr/bin/env bash
# Trains on a Kubernetes cluster with JobSet (https://jobset.sigs.k8s.io), on a TPU slice of GKE or
# on GPU nodes, from an image made by the Dockerfile beside this script:
#
#   PLATFORM=tpu NAME=paper IMAGE=REGISTRY/parts_jax:tpu HOSTS=4 WORKDIR=gs://my-bucket/runs/paper \
#     ./launch/kubernetes/launch.sh --config=configs/parts_clevrer.py [--dry-run]
#   PLATFORM=gpu NAME=paper IMAGE=REGISTRY/parts_jax:cuda HOSTS=2 CLAIM=shared WORKDIR=runs/paper \
#     ./launch/kubernetes/launch.sh --config=configs/parts_clevrer.py
#
#   PLATFORM                  tpu or gpu
#   NAME                      of the run: small letters, digits and dashes
#   IMAGE                     where the nodes pull the image from
#   HOSTS                     hosts of the slice, or GPU nodes
#   WORKDIR                   tpu: gs://BUCKET/FOLDER, mounted by GKE's Cloud Storage FUSE driver
#                             gpu: a folder of the volume CLAIM
#   SERVICE_ACCOUNT=default   of Kubernetes; with tpu it must be allowed to write to the bucket
#   MAX_RESTARTS=10           after a lost host, and any exit code but 0 and 2
#   tpu: ACCELERATOR=tpu-v6e-slice, TOPOLOGY=4x4, CHIPS=4 (of one host)
#   gpu: CLAIM, a persistent volume claim with ReadWriteMany; GPUS=8 (of one node); PORT=12355
#   --dry-run                 prints the manifest, filled in, and sends nothing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=launch/common.sh
. launch/common.sh

need_match() {  # need_match VARIABLE PATTERN WHAT: what is written into the manifest
  [[ "${!1}" =~ ^($2)$ ]] || fail "$1 must be $3; got '${!1}'."
}

json_list() {  # json_list WORDS...
  local word list=""
  for word in "$@"; do
    word="${word//\\/\\\\}"
    list+="${list:+, }\"${word//\"/\\\"}\""
  done
  echo "[$list]"
}

SERVICE_ACCOUNT="${SERVICE_ACCOUNT:-default}" MAX_RESTARTS="${MAX_RESTARTS:-10}"
ACCELERATOR="${ACCELERATOR:-tpu-v6e-slice}" TOPOLOGY="${TOPOLOGY:-4x4}" CHIPS="${CHIPS:-4}"
GPUS="${GPUS:-8}" PORT="${PORT:-12355}" BUCKET="" CLAIM="${CLAIM:-}"
read_arguments "$@"
need PLATFORM "tpu or gpu"
need_match PLATFORM "tpu|gpu" "tpu or gpu"
need NAME "the name of the run"
need_match NAME "[a-z]([a-z0-9-]{0,38}[a-z0-9])?" \
  "up to 40 small letters, digits and dashes that begin with a letter and do not end with a dash"
need IMAGE "where the nodes pull the image from"
need_match IMAGE "[A-Za-z0-9][A-Za-z0-9._:/@-]*" "the address of an image"
need HOSTS "the number of hosts of the slice, or of GPU nodes"
for number in HOSTS CHIPS GPUS PORT; do need_number "$number" 1; done
need_number MAX_RESTARTS 0
need_match SERVICE_ACCOUNT "[a-z0-9.-]+" "the name of a service account"
need_match ACCELERATOR "[a-z0-9-]+" "a label of GKE such as tpu-v6e-slice"
need_match TOPOLOGY "[0-9]+(x[0-9]+)+" "such as 4x4"
if [ "$PLATFORM" = tpu ]; then
  need WORKDIR "gs://BUCKET/FOLDER"
  need_match WORKDIR "gs://[a-z0-9._-]+/[^ ]+" "gs://BUCKET/FOLDER"
  BUCKET="${WORKDIR#gs://}"
  folder="${BUCKET#*/}" BUCKET="${BUCKET%%/*}"
else
  need CLAIM "the persistent volume claim that holds the workdir"
  need_match CLAIM "[a-z0-9.-]+" "the name of a persistent volume claim"
  need WORKDIR "a folder of the volume CLAIM"
  need_match WORKDIR "[^/ ][^ ]*" "a folder of the volume CLAIM, without a slash in front"
  folder="$WORKDIR"
fi
has_flag config || fail "--config=FILE[:variant] is missing; the files are in configs/."
! has_flag workdir || fail "The workdir is given as WORKDIR=..., not as --workdir=...."
need_command kubectl

# Kubernetes reads $(WORD) as a variable's name, and $$ as a plain $.
arguments=("${arguments[@]//"\$"/"\$\$"}" "--workdir=/workdirs/$folder")
if [ "$PLATFORM" = gpu ]; then
  # shellcheck disable=SC2016  # Kubernetes puts PROCESS_ID in, for each pod its own
  arguments+=("--coordinator_address=$NAME-workers-0-0.$NAME:$PORT" "--num_processes=$HOSTS"
    '--process_id=$(PROCESS_ID)')
fi
# shellcheck disable=SC2034  # used by its name below
ARGUMENTS="$(json_list "${arguments[@]}")"

manifest="$(cat "launch/kubernetes/$PLATFORM.yaml")"
for setting in NAME IMAGE HOSTS SERVICE_ACCOUNT MAX_RESTARTS ACCELERATOR TOPOLOGY CHIPS GPUS PORT \
  BUCKET CLAIM ARGUMENTS; do
  manifest="${manifest//"\${$setting}"/"${!setting}"}"
done
if [ "$dry_run" = 1 ]; then
  echo "$manifest"
  exit 0
fi
kubectl apply -f - <<<"$manifest"
echo "Follow the first host with: kubectl logs -f -l" \
  "jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0" >&2
