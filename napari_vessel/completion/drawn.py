"""What a completion network draws between vessels, whether or not they have ends to pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.candidates import Network, Start, trust_of
from napari_vessel.completion.drafts import Draft, drafted, is_detour, radius_at
from napari_vessel.completion.evidence import Evidence
from napari_vessel.completion.paths import length_of, pixels_of, smooth
from napari_vessel.topology import EndPoint, centreline, local_radius

THRESHOLD = 0.5
"""Completion probability from which on is vessel."""

_AROUND = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True, eq=False, slots=True)
class Contact:
    """Where a piece of the completion map touches a component.

    Attributes
    ----------
    component : int
        Label.
    pixels : ndarray of int, shape (N,)
        Indices of the piece's centreline pixels that touch it there.
    walls : ndarray of int, shape (N, 2)
        (y, x) of the vessel pixels that these touch.
    """

    component: int
    pixels: NDArray[np.intp]
    walls: NDArray[np.intp]


def drafts_of_pieces(network: Network, evidence: Evidence, fov: NDArray[np.bool_] | None) -> Iterator[Draft | None]:
    """Judge a course along every piece of the completion map that joins two places of the mask.

    A piece that touches several places is cut down to the shortest ways that join them all. One that touches the mask
    at one place only may be a missing tip (:mod:`~napari_vessel.completion.tips`), and is left alone.

    Parameters
    ----------
    network : Network
        The mask.
    evidence : Evidence
        With its completion map.
    fov : ndarray of bool, shape (Y, X), or None
        Field of view; nothing outside it counts as drawn.

    Yields
    ------
    Draft or None
        None between steps.
    """
    for found in pieces_beyond(network, drawn_by(evidence, fov) & ~network.mask):
        if found is None:
            yield None
        else:
            piece, pixels, radius = found
            yield from drafts_of_piece(pixels, piece, network, evidence, radius)


def drawn_by(evidence: Evidence, fov: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return what a completion map draws, bool, shape (Y, X)."""
    assert evidence.completion is not None
    drawn = evidence.completion >= THRESHOLD
    return drawn if fov is None else drawn & fov


def pieces_beyond(
    network: Network, drawn: NDArray[np.bool_]
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.float32]] | None]:
    """Yield the centrelines that a map adds to a mask and that touch it; None between steps.

    The centrelines of mask and map together, where they run outside the mask, are the pieces: so a map that merely
    draws a vessel a little wider has none.

    Parameters
    ----------
    network : Network
        The mask.
    drawn : ndarray of bool, shape (Y, X)
        The map, outside the mask.

    Yields
    ------
    piece : int
        Number, from 1.
    pixels : ndarray of int, shape (N, 2)
        (y, x) of its centreline.
    radius : ndarray of float32, shape (Y, X)
        Local radius of mask and map together, px; the same for all.
    """
    import cv2

    if not drawn.any():
        return
    both = network.mask | drawn
    lines = centreline(both) & drawn
    yield None
    radius = local_radius(both)
    yield None
    count, pieces = cv2.connectedComponents(lines.view(np.uint8), connectivity=8)
    pixels = np.argwhere(lines)
    y, x = pixels.T
    owners = pieces[y, x]
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(1, count + 1))
    near_mask = cv2.dilate(network.mask.view(np.uint8), np.ones((3, 3), np.uint8))[y, x] > 0
    yield None
    # By their first pixels, row by row from the top.
    for piece in (np.argsort(order[bounds[:-1]], kind="stable") + 1).tolist():
        own = order[bounds[piece - 1] : bounds[piece]]
        if near_mask[own].any():
            yield piece, pixels[own], radius


def drafts_of_piece(
    pixels: NDArray[np.intp], piece: int, network: Network, evidence: Evidence, radius: NDArray[np.float32]
) -> Iterator[Draft]:
    """Judge the courses along one piece; its number, pixels and radius are as :func:`pieces_beyond` yields them."""
    network.reads.note_path(pixels, 2)
    contacts = contacts_of(pixels, network.labels)
    if len(contacts) < 2:
        return
    for first, second, steps in _ways(pixels, contacts, network):
        a, b = contacts[first], contacts[second]
        path = np.concatenate([wall_at(a, steps[0])[None], pixels[steps], wall_at(b, steps[-1])[None]]).astype(
            np.float64
        )
        ends = [network.end_at((int(place[0]), int(place[1]))) for place in (path[0], path[-1])]
        component = b.component
        if ends[0] is None and ends[1] is not None:
            path, component, ends = path[::-1], a.component, ends[::-1]
        path = _off_vessel(smooth(path), network.labels)
        widths = _widths(path, radius, 2.0 * max(radius_at(network, path[0]), radius_at(network, path[-1])))
        # Wider than long from side to side: the space between two neighbours, no vessel of its own.
        wide = max(2.0 * float(np.median(radius[tuple(pixels[steps].T)])), 0.5 * network.calibre)
        if ends == [None, None] and length_of(path) - 1.0 < wide:
            continue
        start = start_at(network, path, ends[0], float(widths.mean()) / 2.0)
        yield drafted(network, start, (path, component), evidence, piece=piece, widths=widths)


def contacts_of(pixels: NDArray[np.intp], labels: NDArray[np.int32]) -> list[Contact]:
    """Return where a piece touches the mask: for each component, its touching pixels that hang together.

    The component that is touched first, row by row from the top of the piece, comes first.
    """
    import cv2

    height, width = labels.shape
    touching: dict[int, dict[int, tuple[int, int]]] = {}
    for dy, dx in _AROUND:
        y, x = pixels[:, 0] + dy, pixels[:, 1] + dx
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        met = np.where(inside, labels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)], 0)
        for index in np.flatnonzero(met).tolist():
            touching.setdefault(int(met[index]), {}).setdefault(index, (int(y[index]), int(x[index])))
    low = pixels.min(axis=0)
    found = []
    for component, places in sorted(touching.items(), key=lambda item: min(item[1].items())):
        indices = np.asarray(sorted(places), np.intp)
        field = np.zeros(pixels.max(axis=0) - low + 1, np.uint8)
        field[tuple((pixels[indices] - low).T)] = 1
        count, groups = cv2.connectedComponents(field, connectivity=8)
        group_of = groups[tuple((pixels[indices] - low).T)]
        for group in range(1, count):
            chosen = indices[group_of == group]
            walls = np.asarray([places[index] for index in chosen.tolist()], np.intp)
            found.append(Contact(component, chosen, walls))
    return found


def _ways(
    pixels: NDArray[np.intp], contacts: list[Contact], network: Network
) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
    """Yield the shortest ways along a piece that join all its contacts: which two, and the pixels' indices.

    The shortest ways between neighbours suffice for that: those that meet half-way between two contacts.
    """
    from scipy.sparse.csgraph import dijkstra

    graph, first = _graph(pixels, contacts)
    sources = np.arange(first, first + len(contacts))
    away, before, nearest = dijkstra(graph, indices=sources, min_only=True, return_predecessors=True)
    nearest = nearest - first
    edges = graph.tocoo()
    half = (edges.row < edges.col) & (edges.col < first)
    u, v = edges.row[half], edges.col[half]
    meets = nearest[u] != nearest[v]
    u, v = u[meets], v[meets]
    found = [(away[u] + away[v] + edges.data[half][meets], nearest[u], nearest[v], u, v)]
    # A pixel between two vessels a pixel apart touches both and is nearest to one.
    for number, contact in enumerate(contacts):
        other = contact.pixels[nearest[contact.pixels] != number]
        alone = np.full(len(other), -1)
        found.append((away[other] + 1.0, nearest[other], np.full(len(other), number), other, alone))
    lengths, ones, others, u, v = (np.concatenate(column) for column in zip(*found, strict=True))
    parents = list(range(len(contacts)))

    def root(contact: int) -> int:
        while parents[contact] != contact:
            contact = parents[contact]
        return contact

    def trace(pixel: int) -> list[int]:
        steps = []
        while 0 <= pixel < first:
            steps.append(pixel)
            pixel = int(before[pixel])
        return steps

    for index in np.argsort(lengths, kind="stable").tolist():
        i, j = int(ones[index]), int(others[index])
        if root(i) == root(j):
            continue
        parents[root(j)] = root(i)
        way = np.asarray(trace(int(u[index]))[::-1] + trace(int(v[index])), np.intp)
        ends = wall_at(contacts[i], way[0]), wall_at(contacts[j], way[-1])
        apart = contacts[i].component != contacts[j].component
        if apart or is_detour(network, *ends, float(lengths[index])):
            yield i, j, way


def ways_from(pixels: NDArray[np.intp], contact: Contact) -> NDArray[np.intp]:
    """Return the way along a piece from the place where it touches the mask to the pixel farthest from it: indices."""
    from scipy.sparse.csgraph import dijkstra

    graph, first = _graph(pixels, [contact])
    away, before = dijkstra(graph, indices=first, return_predecessors=True)
    pixel = int(np.where(np.isfinite(away[:first]), away[:first], -1.0).argmax())
    steps = []
    while pixel != first:
        steps.append(pixel)
        pixel = int(before[pixel])
    return np.asarray(steps[::-1], np.intp)


def _graph(pixels: NDArray[np.intp], contacts: list[Contact]) -> tuple[Any, int]:
    """Link neighbouring pixels; each contact is one more node, with ways into its pixels but none out of them."""
    from scipy.sparse import coo_array

    low = pixels.min(axis=0) - 1
    index = np.full(pixels.max(axis=0) - low + 2, -1, np.intp)
    y, x = (pixels - low).T
    index[y, x] = np.arange(len(pixels))
    rows, columns, lengths = [], [], []
    for dy, dx in _AROUND:
        other = index[y + dy, x + dx]
        linked = np.flatnonzero(other >= 0)
        rows.append(linked)
        columns.append(other[linked])
        lengths.append(np.full(len(linked), np.hypot(dy, dx)))
    for number, contact in enumerate(contacts):
        rows.append(np.full(len(contact.pixels), len(pixels) + number))
        columns.append(contact.pixels)
        lengths.append(np.ones(len(contact.pixels)))
    size = len(pixels) + len(contacts)
    entries = (np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(entries, shape=(size, size)).tocsr(), len(pixels)


def wall_at(contact: Contact, pixel: np.integer) -> NDArray[np.intp]:
    """Return the vessel pixel that a pixel of a contact touches, (y, x)."""
    return np.asarray(contact.walls[int(np.flatnonzero(contact.pixels == pixel)[0])], np.intp)


def _off_vessel(path: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Cut what smoothing moved into the two vessels off a path; its ends stay on pixels of them."""
    place = pixels_of(path, labels.shape)
    met = labels[place[:, 0], place[:, 1]]
    free = np.flatnonzero(met == 0)
    if not free.size:
        return path
    first, last = int(free[0]) - 1, int(free[-1]) + 1
    cut = path[first : last + 1].copy()
    cut[0], cut[-1] = place[first], place[last]
    return cut


def _widths(path: NDArray[np.float64], radius: NDArray[np.float32], limit: float) -> NDArray[np.float32]:
    """Return the drawn diameter at each path point, px, without the flare where it opens into a vessel."""
    y, x = pixels_of(path, radius.shape).T
    widths = 2.0 * radius[y, x]
    inner = widths[1:-1] if len(widths) > 2 else widths
    return np.asarray(np.clip(widths, 1.0, max(min(float(np.median(inner)), limit), 1.0)), np.float32)


def start_at(network: Network, path: NDArray[np.float64], end: EndPoint | None, radius: float) -> Start:
    """Return where a course begins, at a vessel's end or, for None, at its side."""
    point = (int(path[0][0]), int(path[0][1]))
    component = int(network.labels[point])
    if end is None:
        return Start(point, None, 0.0, max(radius, 0.5), component, None)
    return Start(point, end.tangent, trust_of(end), end.radius, component, end)
