"""What a bug report needs: versions, hardware and installed extras, without names of this machine, users or folders."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from regard import __version__

REQUIREMENT = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?[^;]*(?:;\s*extra\s*==\s*['\"]([\w-]+)['\"])?$")


def version_report() -> str:
    """Describe this installation in lines that can be pasted into a bug report."""
    return "\n".join(
        [
            f"regard {__version__}",
            f"{platform.python_implementation()} {platform.python_version()}, {sys.maxsize.bit_length() + 1} bits",
            f"{platform.system()} {platform.release()}, {platform.machine()}",
            *_devices(),
            *_packages(),
            "environment variables set: " + (", ".join(sorted(n for n in os.environ if _is_ours(n))) or "none"),
        ]
    )


def _devices() -> Iterator[str]:
    import torch

    from regard.system.resources import available_cores, available_memory

    memory = available_memory() / 2**30
    yield f"CPU: {available_cores()} cores, {torch.get_num_threads()} threads, {memory:.1f} GiB of memory available"
    yield f"     {torch.backends.cpu.get_cpu_capability()}"
    if not torch.cuda.is_available():
        yield f"CUDA: no device; PyTorch built for CUDA {torch.version.cuda or 'none'}"
    for i in range(torch.cuda.device_count()):
        known = torch.cuda.get_device_properties(i)
        yield (
            f"CUDA {i}: {known.name}, compute capability {known.major}.{known.minor}, "
            f"{known.total_memory / 2**30:.1f} GiB; PyTorch built for CUDA {torch.version.cuda}"
        )
    yield f"MPS: {'available' if torch.backends.mps.is_available() else 'no'}"


def _packages() -> Iterator[str]:
    """Describe the packages that are required, then those of each extra."""
    by_extra: dict[str, list[str]] = {}
    for line in requires("regard") or ():
        if (found := REQUIREMENT.match(line)) and found[1].lower() != "regard":
            by_extra.setdefault(found[2] or "", []).append(found[1])
    for extra, names in sorted(by_extra.items()):
        if extra not in ("dev", "all-tests"):
            packages = ", ".join(f"{name} {_version(name)}" for name in names)
            yield f"{f'extra {extra}' if extra else 'packages'}: {packages}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _is_ours(name: str) -> bool:
    return name.startswith(("REGARD_", "OMP_NUM", "MKL_NUM", "CUDA_VISIBLE", "PYTORCH_", "TORCH_"))
