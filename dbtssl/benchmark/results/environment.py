"""Where a run was made: versions, device, and the state of the code. No host, user or folder is named."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import dbtssl
from dbtssl.engine.store import environment

if TYPE_CHECKING:
    from collections.abc import Callable


def run_environment(accelerator: str) -> dict[str, str]:
    """Versions of the libraries that a result depends on, the device, what it can do, and the commit of the code."""
    import torch

    out = environment() | {
        "machine": platform.machine(),
        "cores": f"{os.cpu_count()}",
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "threads": f"{torch.get_num_threads()}",
        "device": _device(accelerator),
    }
    if limit := os.environ.get("DNNL_MAX_CPU_ISA"):
        out["oneDNN limit"] = limit
    if out["device"].startswith("cuda"):
        cudnn: Callable[[], int | None] = torch.backends.cudnn.version
        out["cuda"] = f"{torch.version.cuda}, cuDNN {cudnn()}"
    if code := _code_at_start():
        out["code"] = code
    return out


@cache
def _code_at_start() -> str:
    """That of the code that this process has imported, also where files change later."""
    return code_state(Path(dbtssl.__file__).parent)


def code_state(package: Path) -> str:
    """``commit 0123456789ab``, and whether there are changes; empty for a package under no version control."""
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return ""  # not a checkout, or one of somebody else's that only holds the environment
    commit, changes = (
        _git(package, "rev-parse", "HEAD"),
        _git(package, "status", "--porcelain", "."),
    )
    if not commit:
        return ""
    return f"commit {commit[:12]}{', with changes that are not committed' if changes else ''}"


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None where there is no git, or it refuses."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _device(accelerator: str) -> str:
    """The kind of the device that Lightning Fabric takes, with its model where torch knows one."""
    import torch

    from dbtssl.inference.predict import single_device

    device = single_device(accelerator)
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return device.type
