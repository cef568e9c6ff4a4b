"""How good predicted pictures are, frame by frame: MSE, PSNR and SSIM.

Numpy on the host, in float64; one number per clip and step, so that means and intervals
(`intervals.confidence_interval`) are taken over sequences. Frames lie in [0, 1].
"""

import numpy as np
from scipy import ndimage

# Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004.
SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
SSIM_K1, SSIM_K2 = 0.01, 0.03
LEAST_MSE = 1e-10  # of a PSNR


def mse(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean squared error over pixels and colours: two of [..., H, W, 3] -> [...]."""
    return np.square(_float(true) - _float(predicted)).mean((-3, -2, -1))


def psnr(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Peak signal to noise ratio, -10 log10(MSE) dB: two of [..., H, W, 3] -> [...].

    The peak is 1. It is 100 dB at the most, for frames that are equal, so that means are finite.
    """
    return -10 * np.log10(np.maximum(mse(true, predicted), LEAST_MSE))


def ssim(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004, equation 13), for each colour, then the mean.

    Means, variances and covariance are weighted by a Gaussian of sigma 1.5 in a window of 11x11
    pixels, at every place where the window lies inside the picture; the range is 1.

    Args:
      true, predicted: [..., H, W, 3].

    Returns:
      float64 [...], 1 where the two are equal.

    Raises:
      ValueError: H or W is below 11.
    """
    x, y = _float(true), _float(predicted)
    if min(x.shape[-3:-1]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs frames of {SSIM_WINDOW}x{SSIM_WINDOW} pixels or more; got "
                         f"{x.shape[-3]}x{x.shape[-2]}.")
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)
                  / ((mean_x**2 + mean_y**2 + c1) * (variances + c2)))
    return similarity.mean((-3, -2, -1))


def _blur(image: np.ndarray) -> np.ndarray:
    """Gaussian means of [..., H, W, 3] where the window lies inside: [..., H - 10, W - 10, 3]."""
    radius = SSIM_WINDOW // 2
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / SSIM_SIGMA))
    weights /= weights.sum()
    for axis in (-3, -2):
        image = ndimage.correlate1d(image, weights, axis=axis)
    return image[..., radius:-radius, radius:-radius, :]


def picture_metrics(true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """`mse`, `psnr` and `ssim` of two of [B, S, H, W, 3]: float64 [B, S] each.

    `ssim` is left out where H or W is below 11.

    Raises:
      ValueError: the two differ in shape.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"True frames have shape {true.shape}, predicted frames "
                         f"{predicted.shape}; they must be the same.")
    result = {"mse": mse(true, predicted), "psnr": psnr(true, predicted)}
    if min(true.shape[-3:-1]) >= SSIM_WINDOW:
        result["ssim"] = ssim(true, predicted)
    return result


def _float(image: np.ndarray) -> np.ndarray:
    return np.asarray(image, np.float64)
