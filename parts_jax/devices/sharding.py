"""Everything about many devices: one mesh axis `data`, batch split over it, parameters on each.

A step is written for one device; `data_parallel` runs it on all. Inside, `vary` marks replicated
parameters as each device's own before gradients are taken, and `mean_over_devices` is the one
place where devices speak to each other.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "data"


def make_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices (or those given) with the single axis `data`."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,),
                         devices=devices)


def split_batch(batch: Any, mesh: Mesh) -> Any:
    """Puts this process's share of a batch on its devices: numpy [b, ...] -> global [B, ...]."""
    sharding = NamedSharding(mesh, P(AXIS))
    return jax.tree.map(
        lambda a: jax.make_array_from_process_local_data(sharding, np.asarray(a)), batch)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Puts the same arrays on every device."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def data_parallel(step: Callable, mesh: Mesh, in_split: tuple[bool, ...], out_split: Any,
                  donate: tuple[int, ...] = ()) -> Callable:
    """Runs a per-device step on all devices of the mesh, jitted.

    Args:
      step: a function of one device's share.
      mesh: from `make_mesh`.
      in_split: for each argument, whether it is split over devices or replicated.
      out_split: the same for the outputs: a bool, or a tuple of them.
      donate: arguments whose memory the outputs may take.

    Returns:
      The function of whole batches.
    """
    def spec(split):
        return P(AXIS) if split else P()

    in_specs = tuple(map(spec, in_split))
    return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=in_specs,
                                 out_specs=jax.tree.map(spec, out_split)),
                   donate_argnums=donate)


def vary(tree: Any) -> Any:
    """Marks replicated arrays as each device's own.

    Without it shard_map would sum gradients of replicated parameters over devices by itself, and
    a further mean would be wrong by the number of devices, which Adam hides.
    """
    return jax.tree.map(lambda a: jax.lax.pcast(a, (AXIS,), to="varying"), tree)


def mean_over_devices(tree: Any) -> Any:
    """Mean over devices of each array, in one all-reduce."""
    return jax.lax.pmean(tree, AXIS)


def example_indices(local_batch_size: int) -> jax.Array:
    """Positions in the global batch of this device's examples, int32 [local_batch_size]."""
    return jax.lax.axis_index(AXIS) * local_batch_size + jnp.arange(local_batch_size)


def fetch(tree: Any) -> Any:
    """Brings arrays split over all devices of all processes to every host, as numpy, whole."""
    return multihost_utils.process_allgather(tree, tiled=True)
