"""SCons tool that makes small, exact Docker images of dynamically linked programs.

``Environment(tools=["default", "scratch_image"])`` adds the builders `Strace`, `Ldd`, `FileList`,
`LayerTar`, `LayerStack`, `OciImage`, `ImageIndex`, `DockerLoad`, `RegistryPush`, `Sbom`,
`ImageTest`, `ImageReport`, `SeccompProfile` and `Sysroot`, and the methods `ScratchImage`, which
chains them, and `ImageTree`, which reads a directory of images.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["HealthCheck", "Run", "Staged", "Suite", "exists", "generate"]


def generate(env: Any, **_: Any) -> None:
    """Add builders, methods and defaults to `env`; what the user has set stays."""
    from .scons import builders, image_tree, scratch_image

    builders.add_to(env)
    env.AddMethod(scratch_image.scratch_image, "ScratchImage")
    env.AddMethod(image_tree.image_tree, "ImageTree")


def exists(env: Any) -> bool:  # noqa: ARG001
    """Tell SCons that the tool can be used: each step says itself what it lacks."""
    return True


def __getattr__(name: str) -> Any:
    # They are defined below the SCons line; the modules above it are importable without SCons.
    if name in ("HealthCheck", "Run", "Staged", "Suite"):
        from .scons import constructors

        return getattr(constructors, name)
    raise AttributeError(name)
