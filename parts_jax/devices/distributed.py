"""Joins the processes of a run on many hosts: by flags, or as the cluster says, or not at all.

Process 0 listens at the coordinator's address, where all meet. Every wait has an end: for a process
that never comes, for one that dies, and for one that does not leave. On CPU the processes speak by
gloo, which is JAX's default (JAX_CPU_COLLECTIVES_IMPLEMENTATION).

Who takes machines away says so first by TERM: `preemption_notice` tells all processes of it at the
same step. It does the same after Ctrl-C.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import logging

# JAX has no public way to ask whether there is a cluster without joining it, and what it finds is
# wrong for us in two places: see `detect` and `_device_ids`.
from jax._src import clusters
from jax.experimental import multihost_utils

from parts_jax.devices import signals

INITIALIZATION_TIMEOUT = 300  # seconds
HEARTBEAT_TIMEOUT = 60
UNAVAILABLE = 69  # exit code, of those in sysexits.h
START_AGAIN = signals.START_AGAIN  # saved after TERM; the launchers start such a run again
FLAGS = ("coordinator_address", "num_processes", "process_id")


class Preempted(Exception):
    """The run got TERM, or Ctrl-C, and has saved: the same command goes on.

    Attributes:
      exit_code: of the process.
    """

    def __init__(self, message: str, exit_code: int = START_AGAIN):
        super().__init__(message)
        self.exit_code = exit_code


@dataclasses.dataclass(frozen=True)
class Place:
    """This process's place among the processes of a run.

    Attributes:
      coordinator_address: host:port, at which process 0 listens.
      num_processes: 1 or more.
      process_id: 0 to num_processes - 1.
      local_device_ids: the devices of this machine that are this process's; None: all.
    """

    coordinator_address: str
    num_processes: int
    process_id: int
    local_device_ids: list[int] | None = None


def initialize(coordinator_address: str | None = None, num_processes: int | None = None,
               process_id: int | None = None,
               initialization_timeout: int = INITIALIZATION_TIMEOUT,
               heartbeat_timeout: int = HEARTBEAT_TIMEOUT) -> None:
    """Joins the other processes of the run, if there are any; before anything asks for devices.

    Args:
      coordinator_address, num_processes, process_id: as in `Place`; all three, or none of them:
        then a TPU pod, Slurm, Open MPI or an indexed Job of Kubernetes is asked, and a process on
        its own stays so.
      initialization_timeout: seconds to wait for the other processes; then this one ends with a
        message and exit code 69.
      heartbeat_timeout: seconds without a sign of life after which a process counts as dead, which
        ends the others; and seconds that a process which ends waits for the others.

    Raises:
      ValueError: some of the three are missing, or a number is out of range.
      RuntimeError: a cluster was found, but does not say where its first process is.
    """
    check(coordinator_address, num_processes, process_id, initialization_timeout,
          heartbeat_timeout)
    if coordinator_address is None:
        place = detect(initialization_timeout)
        if place is None:
            return
    else:
        place = Place(coordinator_address, num_processes, process_id)
    logging.info("Process %d of %d: meeting the others at %s, for up to %d s.", place.process_id,
                 place.num_processes, place.coordinator_address, initialization_timeout)
    with _end_after(initialization_timeout,
                    f"Process {place.process_id} did not meet all {place.num_processes} processes "
                    f"at {place.coordinator_address} within {initialization_timeout} s: the others "
                    "were not started, ended before, or cannot reach that address."):
        jax.distributed.initialize(
            place.coordinator_address, place.num_processes, place.process_id,
            place.local_device_ids, cluster_detection_method="deactivate",
            initialization_timeout=2 * initialization_timeout,
            heartbeat_timeout_seconds=heartbeat_timeout,
            shutdown_timeout_seconds=heartbeat_timeout)


class _SharedNotice(signals.Notice):
    """Of several processes: what one of them hears, all do, by JAX's service, which hears TERM."""

    def hear_interrupt(self, number, frame):
        """Passes Ctrl-C on as TERM."""
        super().hear_interrupt(number, frame)
        signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def preemption_notice() -> Iterator[tuple[signals.Notice, Callable[[int], bool]]]:
    """Within it TERM and Ctrl-C do not end the process; what is yielded tells when to leave.

    Yields:
      How this process was told; and step -> whether all processes are to save after this step and
      leave. To be asked after every step. Of several processes each learns of it within a few
      seconds, whichever was told, by JAX's pre-emption service; a process on its own, at once. In a
      thread other than the main one Python hears no signals, and they end the process as before.
    """
    shared = jax.distributed.is_initialized()
    notice = _SharedNotice() if shared else signals.Notice()
    leaves_at = multihost_utils.reached_preemption_sync_point if shared else lambda _: notice.told
    if threading.current_thread() is not threading.main_thread():
        yield notice, leaves_at
        return
    interrupt = signals.answer_interrupt(notice.hear_interrupt)
    term = None if shared else signal.signal(signal.SIGTERM, notice.hear_term)
    try:
        yield notice, leaves_at
    finally:
        signals.answer_interrupt(interrupt)
        if not shared:
            signal.signal(signal.SIGTERM, term)


@contextlib.contextmanager
def first_process_alone() -> Iterator[None]:
    """What fails in the block for process 0 ends all processes, in place of waiting for it.

    Raises:
      ValueError: in the other processes.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        if jax.process_count() > 1:
            first_failed = bool(multihost_utils.broadcast_one_to_all(np.int32(failed)))
            if first_failed and not failed:
                raise ValueError("Process 0 could not begin; its log says why.")


@contextlib.contextmanager
def _end_after(seconds: int, message: str) -> Iterator[None]:
    """Ends this process with a message if the block takes longer.

    JAX's own timeout aborts the process from C++, with stack traces of every library and no word
    on what to do, and cannot be caught.
    """
    def end():
        print(f"Error: {message}", file=sys.stderr, flush=True)
        os._exit(UNAVAILABLE)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check(coordinator_address: str | None, num_processes: int | None, process_id: int | None,
          initialization_timeout: int = INITIALIZATION_TIMEOUT,
          heartbeat_timeout: int = HEARTBEAT_TIMEOUT) -> None:
    """Raises a ValueError, with a message for the user, where `initialize` would."""
    for name, seconds in (("initialization_timeout", initialization_timeout),
                          ("heartbeat_timeout", heartbeat_timeout)):
        if seconds < 1:
            raise ValueError(f"--{name} must be at least 1 second; got {seconds}.")
    given = dict(zip(FLAGS, (coordinator_address, num_processes, process_id), strict=True))
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if len(missing) == len(FLAGS):
        return
    if missing:
        raise ValueError(f"--{', --'.join(FLAGS)} are given all three or not at all; "
                         f"missing: {', '.join(missing)}.")
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("--coordinator_address must be host:port, with a port from 1 to 65535; "
                         f"got {coordinator_address!r}.")
    if num_processes < 1:
        raise ValueError(f"--num_processes must be at least 1; got {num_processes}.")
    if not 0 <= process_id < num_processes:
        raise ValueError(f"--process_id must be from 0 to {num_processes - 1}, as there are "
                         f"{num_processes} processes; got {process_id}.")


def detect(initialization_timeout: int = INITIALIZATION_TIMEOUT) -> Place | None:
    """This process's place in the cluster that JAX finds it in; None if there is no other process.

    What each is known by: Open MPI and Slurm by the variables that mpirun and srun set for each
    process; a TPU pod by those of GKE, or by the metadata server of the TPU VM; Kubernetes by
    being a pod of an indexed Job, if the package `kubernetes` is installed.
    """
    for cluster in clusters.ClusterEnv._cluster_types:
        if cluster.opt_in_only_method:
            continue
        if cluster is clusters.K8sCluster and "JOB_COMPLETION_INDEX" not in os.environ:
            continue  # JAX would refuse any pod that is not a Job's, such as a notebook's
        if not cluster.is_env_present():
            continue
        num_processes = cluster.get_process_count()
        if num_processes == 1:
            return None
        address = cluster.get_coordinator_address(
            timeout_secs=initialization_timeout,
            override_coordinator_port=os.environ.get("JAX_COORDINATOR_PORT"))
        return Place(address, num_processes, cluster.get_process_id(), _device_ids(cluster))
    return None


def _device_ids(cluster: type[clusters.ClusterEnv]) -> list[int] | None:
    """Which of the machine's devices are this process's; None: all.

    JAX gives each of Slurm's tasks one GPU, also where there is one task on a node of eight.
    """
    if cluster is clusters.SlurmCluster:
        nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
        if cluster.get_process_count() <= nodes:
            return None
    local_process = cluster.get_local_process_id()
    return None if local_process is None else [local_process]
