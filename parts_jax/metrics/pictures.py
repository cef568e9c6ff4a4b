"""How good predicted pictures are, frame by frame: MSE, PSNR and SSIM.

In JAX, in float32, so that they are part of the program that predicts the pictures and nothing but
scores leaves the device; one number per clip and step, so that means and intervals
(intervals.py) are taken over sequences. Frames lie in [0, 1].
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004.
SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
SSIM_K1, SSIM_K2 = 0.01, 0.03
LEAST_MSE, MOST_PSNR = 1e-10, 100.0  # the one is the other
DECIBELS_OF_A_BIT_BEYOND_3 = 10 * math.log10(2) - 3


def mse(true: jax.Array, predicted: jax.Array) -> jax.Array:
    """Mean squared error over pixels and colours: two of [..., H, W, 3] -> [...]."""
    return _mean_over_pixels(jnp.square(_float(true) - _float(predicted)))


def psnr(error: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """Peak signal to noise ratio by the mean squared error, -10 log10(MSE) dB: [...] -> [...].

    The peak is 1. It is 100 dB at the most, for frames that are equal, so that means are finite.
    Of numpy arrays, as evaluation has them on the host, it is a numpy array of the same type.
    """
    xp = jnp if isinstance(error, jax.Array) else np
    # A halving is 3.0103 dB: 3 dB a bit are exact, so that little is left for float32 to round.
    fraction, bits = xp.frexp(xp.maximum(error, LEAST_MSE))
    bits = bits.astype(fraction.dtype)
    rest = DECIBELS_OF_A_BIT_BEYOND_3 * bits + 10 * xp.log10(fraction)
    return xp.where(error <= LEAST_MSE, MOST_PSNR, -(3 * bits + rest))


def ssim(true: jax.Array, predicted: jax.Array) -> jax.Array:
    """Structural similarity (Wang et al. 2004, equation 13), for each colour, then the mean.

    Means, variances and covariance are weighted by a Gaussian of sigma 1.5 in a window of 11x11
    pixels, at every place where the window lies inside the picture; the range is 1.

    Args:
      true, predicted: [..., H, W, 3].

    Returns:
      float32 [...], 1 where the two are equal.

    Raises:
      ValueError: H or W is below 11.
    """
    height, width, colours = true.shape[-3:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs frames of {SSIM_WINDOW}x{SSIM_WINDOW} pixels or more; got "
                         f"{height}x{width}.")
    # Columns and colours as one axis: an innermost axis of 3 is too short for vector units.
    mean_x, mean_y = (_float(a).reshape(*a.shape[:-2], width * colours) for a in (true, predicted))
    variances = covariance = jnp.zeros_like(mean_x)
    for axis, step in ((-2, 1), (-1, colours)):
        mean_x, mean_y, variances, covariance = _moments_along(
            axis, step, mean_x, mean_y, variances, covariance)
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)
                  / ((mean_x**2 + mean_y**2 + c1) * (variances + c2)))
    return similarity.mean(-1).mean(-1)


def _moments_along(axis: int, step: int, mean_x, mean_y, variances, covariance):
    """Moments over a window along one axis, of what is known of each pixel's own surroundings.

    By the law of total variance: the mean of the variances, and the variance of the means, about
    their own mean. E[x^2] - E[x]^2 would lose in float32 what flat surfaces, where SSIM is most
    sensitive, have of it.

    Args:
      axis: of the four arrays.
      step: from one pixel to the next on that axis.
      mean_x, mean_y, variances, covariance: of the pixels; `variances` is the sum of x's and y's.

    Returns:
      The same four at each place where the window lies inside: 10 pixels fewer along the axis.
    """
    size = mean_x.shape[axis] - (SSIM_WINDOW - 1) * step

    def weigh(make, *arrays):
        """The weighted sum over the window of what `make` makes of the arrays at one place of it.

        A loop: written out, it is compiled for seconds, and fused so that much is done many times.
        """
        def at(place):
            parts = [lax.dynamic_slice_in_dim(a, place * step, size, axis) for a in arrays]
            return jax.tree.map(lambda value: weights[place] * value, make(*parts))

        return lax.fori_loop(1, SSIM_WINDOW, lambda place, total: jax.tree.map(
            jnp.add, total, at(place)), at(0))

    weights = jnp.asarray(_weights(), jnp.float32)
    x, y = weigh(lambda a, b: (a, b), mean_x, mean_y)
    variances, covariance = weigh(
        lambda a, b, inside, together: (inside + (a - x)**2 + (b - y)**2,
                                        together + (a - x) * (b - y)),
        mean_x, mean_y, variances, covariance)
    return x, y, variances, covariance


def _weights() -> np.ndarray:
    """The Gaussian's, [11], which sum to 1."""
    radius = SSIM_WINDOW // 2
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / SSIM_SIGMA))
    return weights / weights.sum()


def frame_metrics(true: jax.Array, predicted: jax.Array) -> dict[str, jax.Array]:
    """`mse` and `ssim` of two of [..., H, W, 3]: float32 [...] each.

    `ssim` is left out where H or W is below 11.

    Raises:
      ValueError: the two differ in shape.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"True frames have shape {true.shape}, predicted frames "
                         f"{predicted.shape}; they must be the same.")
    result = {"mse": mse(true, predicted)}
    if min(true.shape[-3:-1]) >= SSIM_WINDOW:
        result["ssim"] = ssim(true, predicted)
    return result


def picture_metrics(true: jax.Array, predicted: jax.Array) -> dict[str, jax.Array]:
    """`frame_metrics`, and the `psnr` that follows: of two of [B, S, H, W, 3], [B, S] each."""
    metrics = frame_metrics(true, predicted)
    return metrics | {"psnr": psnr(metrics["mse"])}


def _mean_over_pixels(values: jax.Array) -> jax.Array:
    """[..., H, W, 3] -> [...], row by row: one long sum in float32 would lose digits."""
    return values.mean((-2, -1)).mean(-1)


def _float(image: jax.Array) -> jax.Array:
    return jnp.asarray(image, jnp.float32)
