"""Features cut into square windows on one grid over the whole image, and put together again."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cut_windows(x: Tensor, side: int, shift: int) -> tuple[Tensor, Tensor]:
    """Cut features into windows.

    Parameters
    ----------
    x : Tensor, shape (N, C, Y, X)
        Features.
    side, shift : int
        Of a window, and by how much the grid lies further up and left.

    Returns
    -------
    tuple of Tensor
        The nodes, shape (windows, side^2, C), and which of them lie in the image, bool, shape (windows, side^2).
    """
    count, _, height, width = x.shape
    around = (shift, -(width + shift) % side, shift, -(height + shift) % side)

    def cut(array: Tensor) -> Tensor:
        whole = functional.pad(array, around)
        parts = whole.reshape(*whole.shape[:2], whole.shape[2] // side, side, whole.shape[3] // side, side)
        return parts.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, array.shape[1])

    return cut(x), cut(x.new_ones((1, 1, height, width)))[..., 0].bool().repeat(count, 1)


def join_windows(nodes: Tensor, shape: tuple[int, int, int], side: int, shift: int) -> Tensor:
    """Put windows back together: features, shape (N, C, Y, X), of N, Y and X in `shape`."""
    count, height, width = shape
    rows, columns = -(-(height + shift) // side), -(-(width + shift) // side)
    parts = nodes.reshape(count, rows, columns, side, side, -1).permute(0, 5, 1, 3, 2, 4)
    whole = parts.reshape(count, nodes.shape[-1], rows * side, columns * side)
    return whole[..., shift : shift + height, shift : shift + width]
