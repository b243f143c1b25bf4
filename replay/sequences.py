"""What two sequences have in common, in order. Pure, near-linear, and bounded on hostile input.

Equal ends are stripped; items that occur once on each side are anchors, and the longest increasing run
of them splits the rest (Bram Cohen's patience diff); where nothing is unique, Myers' greedy algorithm
(Algorithmica 1, 1986) goes on in strides of a few edits, so that its cost stays linear.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import count
from operator import lt

IndexPair = tuple[int, int]

_LEVELS = 10
_MAX_EDITS = 32
_EXACT_CELLS = 256
_WINDOW = 8


def common(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[IndexPair]:
    """Positions of equal items, increasing on both sides."""
    start, rest = equal_ends(left, right)
    end_a, end_b = len(left) - rest, len(right) - rest
    found = list(zip(range(start), range(start), strict=True))
    if start < end_a and start < end_b:
        found += [(start + i, start + j) for i, j in _common(left[start:end_a], right[start:end_b])]
    found += zip(range(end_a, len(left)), range(end_b, len(right)), strict=True)
    return found


def equal_ends(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[int, int]:
    """How many items the two begin with together, and how many of the rest they end with."""
    most = min(len(left), len(right))
    start = end = 0
    while start < most and left[start] == right[start]:
        start += 1
    most -= start
    while end < most and left[-1 - end] == right[-1 - end]:
        end += 1
    return start, end


def _common(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[IndexPair]:
    """The same of two sequences whose ends differ."""
    if len(left) == len(right) == 1:
        return []
    names: defaultdict[Hashable, int] = defaultdict(count().__next__)
    a, b = list(map(names.__getitem__, left)), list(map(names.__getitem__, right))
    if len(names) == len(a) + len(b):  # nothing twice
        return []
    found: list[IndexPair] = []
    todo = [(0, len(a), 0, len(b), 0)]
    while todo:
        low_a, high_a, low_b, high_b, level = todo.pop()
        if level:
            low_a, high_a, low_b, high_b = _strip(a, b, (low_a, high_a, low_b, high_b), found)
            if low_a == high_a or low_b == high_b:
                continue
        anchors = _anchors(a, b, low_a, high_a, low_b, high_b) if level < _LEVELS else []
        if not anchors:
            found += _without_anchors(a, b, low_a, high_a, low_b, high_b)
            continue
        found += anchors
        for i, j in anchors:
            if low_a < i and low_b < j:
                todo.append((low_a, i, low_b, j, level + 1))
            low_a, low_b = i + 1, j + 1
        todo.append((low_a, high_a, low_b, high_b, level + 1))
    found.sort()
    return found


def runs(pairs: Iterable[IndexPair]) -> Iterator[tuple[int, int, int]]:
    """Pairs that follow one another on both sides as one: where it begins on each, and how long it is."""
    start_a = start_b = next_a = next_b = 0
    for i, j in pairs:
        if i != next_a or j != next_b:
            if next_a > start_a:
                yield start_a, start_b, next_a - start_a
            start_a, start_b = i, j
        next_a, next_b = i + 1, j + 1
    if next_a > start_a:
        yield start_a, start_b, next_a - start_a


def gaps(pairs: Iterable[IndexPair], left: int, right: int) -> Iterable[tuple[range, range]]:
    """What lies between pairs that increase on both sides; the last gap is the rest. May be empty ranges."""
    i = j = 0
    for next_i, next_j in pairs:
        yield range(i, next_i), range(j, next_j)
        i, j = next_i + 1, next_j + 1
    yield range(i, left), range(j, right)


def increasing(pairs: Sequence[IndexPair]) -> list[IndexPair]:
    """The longest run of pairs that increases on the right; `pairs` increases on the left."""
    rights = [j for _, j in pairs]
    if all(map(lt, rights, rights[1:])):  # as mostly
        return list(pairs)
    tops: list[int] = []  # the smallest right position that ends a run of each length
    ends: list[int] = []
    before: list[int] = []
    for position, (_, j) in enumerate(pairs):
        length = bisect_left(tops, j)
        before.append(ends[length - 1] if length else -1)
        if length == len(tops):
            tops.append(j)
            ends.append(position)
        else:
            tops[length], ends[length] = j, position
    run: list[IndexPair] = []
    position = ends[-1] if ends else -1
    while position >= 0:
        run.append(pairs[position])
        position = before[position]
    return run[::-1]


def pair_in_order(left: int, right: int, score: Callable[[int, int], float], least: float) -> list[IndexPair]:
    """Pair positions of two short runs in order, for the greatest sum of scores; none below `least` (> 0).

    Runs with more than 256 combinations are paired greedily, each with the best of the next 8.
    """
    if left * right > _EXACT_CELLS:
        return _pair_greedily(left, right, score, least)
    best = [[0.0] * (right + 1) for _ in range(left + 1)]
    scores = [[score(i, j) for j in range(right)] for i in range(left)]
    for i in range(left - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(right - 1, -1, -1):
            taken = scores[i][j] + below[j + 1] if scores[i][j] >= least else 0.0
            row[j] = max(taken, below[j], row[j + 1])
    pairs: list[IndexPair] = []
    i = j = 0
    while i < left and j < right:
        if scores[i][j] >= least and best[i][j] == scores[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _pair_greedily(left: int, right: int, score: Callable[[int, int], float], least: float) -> list[IndexPair]:
    pairs: list[IndexPair] = []
    start = 0
    for i in range(left):
        best, chosen = 0.0, -1
        for j in range(start, min(right, start + _WINDOW)):
            value = score(i, j)
            if value >= least and value > best:
                best, chosen = value, j
                if value >= 1.0:
                    break
        if chosen >= 0:
            pairs.append((i, chosen))
            start = chosen + 1
    return pairs


def _strip(
    a: list[int], b: list[int], area: tuple[int, int, int, int], found: list[IndexPair]
) -> tuple[int, int, int, int]:
    low_a, high_a, low_b, high_b = area
    while low_a < high_a and low_b < high_b and a[low_a] == b[low_b]:
        found.append((low_a, low_b))
        low_a, low_b = low_a + 1, low_b + 1
    while low_a < high_a and low_b < high_b and a[high_a - 1] == b[high_b - 1]:
        high_a, high_b = high_a - 1, high_b - 1
        found.append((high_a, high_b))
    return low_a, high_a, low_b, high_b


def _anchors(a: list[int], b: list[int], low_a: int, high_a: int, low_b: int, high_b: int) -> list[IndexPair]:
    once_a, once_b = _once(a, low_a, high_a), _once(b, low_b, high_b)
    pairs = [(i, once_b[item]) for item, i in once_a.items() if i >= 0 and once_b.get(item, -1) >= 0]
    return increasing(pairs)


def _once(items: list[int], low: int, high: int) -> dict[int, int]:
    """Item -> its only position, or -1 when it occurs again; in order of first occurrence."""
    positions = dict(zip(items[low:high], range(low, high), strict=True))
    if len(positions) == high - low:
        return positions
    positions.clear()
    for position in range(low, high):
        item = items[position]
        positions[item] = -1 if item in positions else position
    return positions


def _without_anchors(a: list[int], b: list[int], low_a: int, high_a: int, low_b: int, high_b: int) -> list[IndexPair]:
    shared = set(a[low_a:high_a]).intersection(b[low_b:high_b])
    if not shared:
        return []
    # what the other side has nowhere can only cost edits
    left = [i for i in range(low_a, high_a) if a[i] in shared]
    right = [j for j in range(low_b, high_b) if b[j] in shared]
    items_a, items_b = [a[i] for i in left], [b[j] for j in right]
    pairs = _greedy(items_a, items_b)
    return [(left[i], right[j]) for i, j in pairs]


def _greedy(a: list[int], b: list[int]) -> list[IndexPair]:
    """A long common subsequence: the longest while few edits lead to it, then on from the furthest point."""
    pairs: list[IndexPair] = []
    x = y = 0
    while x < len(a) and y < len(b):
        reached, history = _reach(a, b, x, y)
        pairs += _way_back(history, x, y, reached)
        x, y = reached
    return pairs


def _reach(a: list[int], b: list[int], from_x: int, from_y: int) -> tuple[IndexPair, list[dict[int, int]]]:
    """The end of both, or the furthest point that `_MAX_EDITS` insertions and deletions lead to.

    Diagonal k holds the points with x - y == k, counted from the start.
    """
    size_a, size_b = len(a) - from_x, len(b) - from_y
    reach = {1: 0}
    history: list[dict[int, int]] = []
    best = (0, 0)
    for edits in range(_MAX_EDITS + 1):
        history.append(dict(reach))
        best = (0, 0)
        for k in range(-edits, edits + 1, 2):
            x = _entry(reach, k, edits)
            while x < size_a and x - k < size_b and a[from_x + x] == b[from_y + x - k]:
                x += 1
            reach[k] = x
            if x <= size_a and x - k <= size_b:  # a path may leave the field; none comes back
                best = max(best, (x, x - k), key=sum)
            if x == size_a and x - k == size_b:
                return (from_x + x, from_y + x - k), history
    return (from_x + best[0], from_y + best[1]), history


def _entry(reach: dict[int, int], k: int, edits: int) -> int:
    """Where diagonal k is entered: from the one above by an insertion, or the one below by a deletion."""
    if k == -edits or (k != edits and reach.get(k - 1, -1) < reach.get(k + 1, -1)):
        return reach[k + 1]
    return reach[k - 1] + 1


def _way_back(history: list[dict[int, int]], from_x: int, from_y: int, reached: IndexPair) -> list[IndexPair]:
    pairs: list[IndexPair] = []
    x, y = reached[0] - from_x, reached[1] - from_y
    for edits in range(len(history) - 1, -1, -1):
        reach, k = history[edits], x - y
        start = _entry(reach, k, edits) if edits else 0
        while x > start:
            x, y = x - 1, y - 1
            pairs.append((from_x + x, from_y + y))
        if edits:
            if k == -edits or (k != edits and reach.get(k - 1, -1) < reach.get(k + 1, -1)):
                y -= 1
            else:
                x -= 1
    return pairs[::-1]
