"""MSE, PSNR and SSIM by numpy and scipy in float64, for tests to compare with."""

import numpy as np
from scipy import ndimage


def picture_metrics(true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """mse, psnr and ssim of two of [..., H, W, 3]: float64 [...] each."""
    x, y = true.astype(np.float64), predicted.astype(np.float64)
    error = np.square(x - y).mean((-3, -2, -1))
    return {"mse": error, "psnr": -10 * np.log10(np.maximum(error, 1e-10)),
            "ssim": ssim(x, y)}


def ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two of float64 [..., H, W, 3] -> [...]."""
    def blur(image):
        for axis in (-3, -2):
            image = ndimage.gaussian_filter1d(image, 1.5, axis=axis, radius=5)
        return image[..., 5:-5, 5:-5, :]

    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
                  / ((mean_x**2 + mean_y**2 + 0.01**2) * (variances + 0.03**2)))
    return similarity.mean((-3, -2, -1))
