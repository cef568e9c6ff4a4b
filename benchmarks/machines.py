"""Accelerators by their data sheets, and what an all-reduce costs on them.

Nothing here was measured by this project. Sources, read in stored copies in 2026:

- v5e: https://docs.cloud.google.com/tpu/docs/v5e (197 TFLOP/s in bfloat16, HBM 16 GB and 819 GB/s,
  interconnect 400 GB/s both ways over 4 ports, 2D torus of 16x16, 8 chips a host). A link carries
  45 GB/s one way, a hop takes about 1 us, and axes shorter than 16 do not close to a ring:
  https://jax-ml.github.io/scaling-book/tpus and /sharding, where 3 hops took 8 us in practice;
  this is the 2.7 us a hop below.
- H100 SXM: https://glennklockwood.com/garden/processors/h100, which quotes NVIDIA (989 TFLOP/s in
  bfloat16 and 495 in TF32, without sparsity; HBM3 80 GB and 3.35 TB/s). 8 GPUs a node, 450 GB/s
  one way out of each by NVLink, and 400 GB/s out of a node, 8 ports of 400 Gb/s InfiniBand:
  https://jax-ml.github.io/scaling-book/gpus. Latencies of a step of a ring, 3.4 us by NVLink and
  9.6 us by network, and 8.4 us once: `hwLat` and `baseLat`, Ring and Simple, of
  https://github.com/NVIDIA/nccl/blob/01afd20a77b5804e0ecf1042509dd9d20ebf9e93/src/graph/tuning.cc,
  which is older than the H100.
- float32 of this project's configs is multiplied in bfloat16 on a TPU and in TF32 on a GPU, unless
  JAX is told otherwise: https://docs.jax.dev/en/latest/201/precision.html.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Ring:
    """Devices, or groups of them, that pass data around.

    Attributes:
      size: how many.
      bandwidth: bytes a second that one device sends into the ring, all its links of it together.
      latency: seconds that a step of the ring takes for no data.
    """

    size: int
    bandwidth: float
    latency: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """So many equal devices.

    Attributes:
      name: for tables.
      peak: FLOPs a second of one device's matrix units, by config.model.dtype.
      memory: bytes of one device.
      memory_bandwidth: bytes a second of one device's memory.
      rings: from the inside out; the product of their sizes is the number of devices.
      devices_per_host: whose batches one process reads.
      start: seconds until an all-reduce begins.
    """

    name: str
    peak: dict[str, float]
    memory: float
    memory_bandwidth: float
    rings: tuple[Ring, ...]
    devices_per_host: int = 8
    start: float = 0.0

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(ring.size for ring in self.rings)


def all_reduce_seconds(num_bytes: float, rings: tuple[Ring, ...], start: float = 0.0) -> float:
    """Time of an all-reduce, ring within ring.

    In each ring of n a reduce-scatter and an all-gather: 2 (n - 1) steps, in which a device sends
    2 (n - 1) / n of its bytes. The next ring outwards has 1/n of them. Rings follow one another,
    though the two axes of a torus could work at once, in half of the time.

    Args:
      num_bytes: that each device holds.
      rings: from the inside out.
      start: seconds until it begins; not counted for one device.

    Returns:
      Seconds; 0 for one device.
    """
    if math.prod(ring.size for ring in rings) == 1:
        return 0.0
    seconds, held = start, float(num_bytes)
    for ring in rings:
        steps = 2 * (ring.size - 1)
        seconds += steps * (held / ring.size / ring.bandwidth + ring.latency)
        held /= ring.size
    return seconds


def v5e(rows: int, columns: int) -> Machine:
    """A slice of a v5e pod, up to 16x16; along an axis of 16 both links of a chip are in use."""
    def axis(size: int) -> Ring:
        return Ring(size, 90e9 if size == 16 else 45e9, 2.7e-6)

    return Machine(f"v5e-{rows * columns}", {"float32": 197e12, "bfloat16": 197e12}, 16e9, 819e9,
                   (axis(columns), axis(rows)))


def h100(nodes: int, node_bandwidth: float = 400e9) -> Machine:
    """Nodes of 8 H100 SXM, each sending so many bytes a second; named by it if not the usual."""
    name = f"{8 * nodes} x H100"
    if node_bandwidth != 400e9:
        name += f", {node_bandwidth * 8 / 1e9:g} Gb/s"
    return Machine(name, {"float32": 495e12, "bfloat16": 989e12}, 80e9, 3.35e12,
                   (Ring(8, 450e9, 3.4e-6), Ring(nodes, node_bandwidth / 8, 9.6e-6)), start=8.4e-6)
