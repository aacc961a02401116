"""Nyström attention as the paper prints it (2102.03902, algorithm 1; section 3.2 and equation 11), in NumPy.

Written from the paper alone, for one head of one sequence, on which landmarks are means of n / m tokens that follow one
another. It imports nothing of the package.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def algorithm_1(q: Array, k: Array, v: Array, landmarks: int, iterations: int) -> Array:
    """Return the approximate softmax attention, (n, d), of queries, keys and values, each (n, d)."""
    scale = np.sqrt(q.shape[1])
    q_marks, k_marks = segment_means(q, landmarks), segment_means(k, landmarks)
    f = softmax(q @ k_marks.T / scale)
    b = softmax(q_marks @ k.T / scale)
    a = softmax(q_marks @ k_marks.T / scale)
    return f @ pseudo_inverse(a, iterations) @ b @ v


def segment_means(x: Array, landmarks: int) -> Array:
    """Return the mean of each of ``landmarks`` stretches of equal length: (n, d) -> (m, d)."""
    n, d = x.shape
    length = n // landmarks
    assert length * landmarks == n
    means = np.zeros((landmarks, d))
    for j in range(landmarks):
        for i in range(j * length, (j + 1) * length):
            means[j] += x[i] / length
    return means


def softmax(scores: Array) -> Array:
    weights: Array = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def pseudo_inverse(a: Array, iterations: int) -> Array:
    """Return the Moore-Penrose inverse, approximately, from A^T over the 1-norm and the infinity-norm of A."""
    one = np.eye(len(a))
    z = a.T / (np.linalg.norm(a, 1) * np.linalg.norm(a, np.inf))
    for _ in range(iterations):
        z = 0.25 * z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z)))
    return z
