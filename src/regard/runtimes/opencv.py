"""OpenCV's DNN module, which reads ONNX files of fixed size: opening one, to compare it with PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.errors import warn
from regard.runtimes.base import Float32, Session, reason
from regard.runtimes.compare import compare
from regard.runtimes.header import Header
from regard.types import Predictor


def open_in_opencv(path: Path, header: Header) -> Session:
    """Open an ONNX file of fixed size in OpenCV's DNN module.

    Raises:
        cv2.error: it cannot read the file.
    """
    net = cv2.dnn.readNetFromONNX(os.fspath(path))
    outputs = net.getUnconnectedOutLayersNames()  # in the file's order; OpenCV 4 has other names for them

    def run(images: NDArray[Any], names: Sequence[str]) -> list[Float32]:
        net.setInput(images)
        found = dict(zip(header.outputs, net.forward(outputs), strict=True))
        return [np.asarray(found[name], np.float32) for name in names]

    return Session(header, run, path)


def warn_unless_read(
    path: Path, header: Header, detector: Predictor, images: NDArray[np.uint8], tolerance: float
) -> None:
    """Warn if the installed OpenCV cannot read a file, or computes something else from it than the detector.

    Args:
        path: the ONNX file.
        header: of the file.
        detector: what it was made from.
        images: (1, 3, S, S) to compare on.
        tolerance: largest relative difference.
    """
    try:
        found = compare(detector, open_in_opencv(path, header), images)
    except Exception as error:  # of an operator that it does not know, cv2.error; and whatever the file leads to
        fault = reason(error)
    else:
        if found.within(tolerance):
            return
        fault = f"its results deviate by {found.worst:.1g}"
    what = f"the DNN module of OpenCV {cv2.__version__} cannot use the file: {fault}; ONNX Runtime can"
    warn(what)
