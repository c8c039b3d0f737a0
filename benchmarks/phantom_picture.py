"""Slices of the phantom in one picture, and beside real ones for who has them.

    python benchmarks/phantom_picture.py docs/pictures/phantom.png
    python benchmarks/phantom_picture.py /tmp/beside.png --beside FOLDER_OF_REAL_SLICES

The upper row of the second picture is real, the lower the phantom. BCS-DBT is CC BY-NC 4.0: such a
picture is for looking, not for this repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from dbtssl.phantom.cohort.phantom_cohort import PlannedVolume, plan
from dbtssl.phantom.imaging.render import render
from dbtssl.phantom.model.phantom_config import PhantomConfig

WINDOW = 512, 512  # centre and width that BCS-DBT's headers ask for
ENDINGS = {".png", ".jpg", ".jpeg"}
SHOWN = 0.66  # of a tile's height is its width


def phantom_slice(config: PhantomConfig, volume: PlannedVolume) -> Image.Image:
    """The slice of the lesion, or the middle one, in 8 bits, chest wall to the left."""
    pixels, boxes = render(config, volume)
    slice_ = pixels[boxes[0].z if boxes else len(pixels) // 2].astype(float)
    if not volume.positioning.left:
        slice_ = slice_[:, ::-1]
    centre, width = WINDOW
    grey = (slice_ - centre) / width + 0.5
    return Image.fromarray((grey.clip(0, 1) * 255).astype(np.uint8))


def real_slice(path: Path) -> Image.Image:
    """A slice in 8 bits, chest wall to the left."""
    image = Image.open(path).convert("L")
    left, right = np.asarray(image)[:, :8].sum(), np.asarray(image)[:, -8:].sum()
    return image if left > right else image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def sheet(rows: list[list[Image.Image]], height: int) -> Image.Image:
    """Rows of images of one height, side by side."""
    width = int(SHOWN * height)
    page = Image.new("L", (width * max(map(len, rows)), height * len(rows)))
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            w, h = image.size
            tile = image.resize((round(w * height / h), height), Image.Resampling.LANCZOS)
            page.paste(tile.crop((0, 0, width, height)), (j * width, i * height))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--beside", type=Path, help="folder of real slices as images")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=512, help="pixels along the chest wall")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--anatomy", choices=["full", "plain"], default="full")
    parser.add_argument("--height", type=int, default=480, help="of a tile, in pixels")
    options = parser.parse_args()
    n = options.columns * (1 if options.beside else 2)
    config = PhantomConfig(
        patients=n, rows=options.rows, seed=options.seed, repeat_study=0, missing_view=0,
        anatomy=options.anatomy,
    )  # fmt: skip
    volumes = plan(config)
    chosen = []
    for i in range(n):
        of_patient = volumes[4 * i : 4 * i + 4]
        views = [v for v in of_patient if v.lesion is not None] or of_patient
        chosen.append(phantom_slice(config, views[i % 2]))
    rows = [chosen[: options.columns], chosen[options.columns :]]
    if options.beside:
        paths = sorted(p for p in options.beside.iterdir() if p.suffix.lower() in ENDINGS)
        rows = [[real_slice(p) for p in paths[: options.columns]], chosen]
    sheet(rows, options.height).save(options.out, optimize=True)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
