"""Finds the loudest tone in samples. Pure; tests compare what was played with what arrived.

>>> import numpy as np
>>> hertz, dbfs = peak(0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000), 48000)
>>> round(hertz), round(dbfs)
(440, -6)
"""

import math

import numpy as np
from numpy.typing import NDArray

SILENCE_DBFS = -120.0


def peak(
    samples: NDArray[np.floating] | NDArray[np.signedinteger], rate: int
) -> tuple[float, float]:
    """The strongest frequency in hertz, and its level in dB below a full-scale sine.

    ``samples``: one channel, floats within ±1 or signed integers of full scale. The frequency is
    right within rate / len(samples) hertz. Silence is (0.0, SILENCE_DBFS). Raises ValueError.
    """
    if samples.ndim != 1 or len(samples) < 64:
        raise ValueError(f"one channel of at least 64 samples is needed, not {samples.shape}")
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(_unit(samples) * window)) * 2 / window.sum()
    spectrum[:2] = 0  # a constant offset is no tone
    top = int(spectrum.argmax())
    amplitude = float(spectrum[top])
    if amplitude < 10 ** (SILENCE_DBFS / 20):
        return 0.0, SILENCE_DBFS
    return top * rate / len(samples), 20 * math.log10(amplitude)


def _unit(samples: NDArray[np.floating] | NDArray[np.signedinteger]) -> NDArray[np.float64]:
    """Scale integers to ±1."""
    if isinstance(samples.dtype.type(), np.signedinteger):
        return np.asarray(samples, dtype=np.float64) / 2.0 ** (8 * samples.itemsize - 1)
    return np.asarray(samples, dtype=np.float64)
