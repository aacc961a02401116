"""Images that Python code has in memory: arrays, PIL images, torch tensors and encoded bytes, as uint8 RGB."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regard.data.images import decode_bytes, to_eight_bits, undecoded
from regard.errors import RegardError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

EXPECTED = "an (H, W, 3) uint8 RGB array, also gray, RGBA or 16 bits; a PIL image; a torch tensor (C, H, W); bytes"


def is_image(value: object) -> bool:
    """Whether a value is one image in memory; an array or tensor of four dimensions is a batch of them."""
    if isinstance(value, np.ndarray) or _is_tensor(value):
        return value.ndim != 4  # type: ignore[attr-defined]
    return isinstance(value, bytes | bytearray | memoryview) or _is_pillow(value) or _is_stream(value)


def to_rgb(value: Any) -> NDArray[np.uint8]:
    """Convert an image in memory to (H, W, 3) uint8 RGB.

    As in files, gray is repeated over three channels, alpha is dropped, 16 bits are scaled by their range, and PIL
    images are rotated upright by EXIF.

    Args:
        value: an array of (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in RGB order, uint8 or uint16; a PIL image; a
            torch tensor of (H, W) or (C, H, W) in RGB order, uint8, or floating point from 0 to 1; or an image file as
            bytes or open for reading them.

    Raises:
        RegardError: another shape, type or range, or bytes that OpenCV cannot decode.

    Example:
        >>> to_rgb(np.full((2, 3), 7, np.uint8)).tolist()[0]
        [[7, 7, 7], [7, 7, 7], [7, 7, 7]]
    """
    if _is_stream(value):
        value = value.read()
    if isinstance(value, bytes | bytearray | memoryview):
        rgb = decode_bytes(bytes(value))
        if rgb is None:
            raise undecoded(bytes(value), f"a value of {len(value)} bytes")
        return rgb
    if _is_pillow(value):
        return _three_channels(_of_pillow(value), value)
    return _three_channels(_of_tensor(value) if _is_tensor(value) else value, value)


def _is_stream(value: object) -> bool:
    """Whether a value is a file that is open for reading bytes."""
    return isinstance(value, io.RawIOBase | io.BufferedIOBase)


def _is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor; where torch was not imported it cannot be one."""
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def _is_pillow(value: object) -> bool:
    return "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image)


def _of_pillow(image: Image.Image) -> NDArray[Any]:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        is_deep = upright.mode.startswith(("I", "F"))  # "I;16", and "I" and "F" of 32 bits
        pixels = np.asarray(upright if is_deep else upright.convert("RGB"))
    except (OSError, ValueError) as error:  # a lazily opened file that is torn
        raise RegardError(f"cannot decode the image ({error})", file=getattr(image, "filename", "") or None) from error
    return to_eight_bits(pixels)


def _of_tensor(tensor: Tensor) -> NDArray[Any]:
    """Copy a (C, H, W) tensor to an (H, W, C) array; floating point from 0 to 1 becomes 0 to 255."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()
        if tensor.numel() and not (tensor.min() >= 0 and tensor.max() <= 1):  # NaN is neither
            what = f"a tensor with values from {tensor.min():.3g} to {tensor.max():.3g}"
            raise RegardError(what, expected="0 to 1, or uint8", hint="undo the normalisation, or divide by 255")
        array = np.rint(tensor.numpy() * 255).astype(np.uint8)
    else:
        array = tensor.numpy()
    if array.ndim == 3 and array.shape[0] not in (1, 3, 4):
        raise RegardError(f"cannot process a tensor of shape {tuple(array.shape)}", expected="(C, H, W)")
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def _three_channels(array: NDArray[Any], value: Any) -> NDArray[np.uint8]:
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    is_valid = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.size and pixels.dtype in (np.uint8, np.uint16)
    if not is_valid:
        kind = "a tensor" if _is_tensor(value) else "an array"
        raise RegardError(
            f"cannot process {kind} of shape {tuple(value.shape)} and type {value.dtype}", expected=EXPECTED
        )
    return to_eight_bits(np.ascontiguousarray(pixels[..., :3]))
