"""Do the emitted modules run as fast as torchvision's and smp's own?

One thread, evaluation mode, the same weights and picture, calls in turn; each pair of calls gives a
ratio of CPU times.  Bar: the median ratio is 1.00 +- 0.02.  Both must answer the same numbers.
"""

from __future__ import annotations

import argparse
from statistics import median, quantiles
from time import process_time

import torch
from _measure import conditions, significant, spread, table, write
from _peers import PEERS, Peer, tensors
from torch import Tensor, nn

import compiler
import segdsl

BAR = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=21, help="counted pairs of calls")
    parser.add_argument("--only", choices=PEERS, help="one network alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    where = conditions("torch", "torchvision", "segmentation_models_pytorch", "numpy")
    chosen = {k: v for k, v in PEERS.items() if args.only in (None, k)}
    rows = {name: compare(peer, args.pairs) for name, peer in chosen.items()}
    results = {
        "question": "CPU time of one forward pass, emitted module against published module",
        "conditions": where | {"threads": 1},
        "bar": f"1.00 +- {BAR}",
        "networks": rows,
    }
    if args.only is None:
        write("emitted_speed", results)
    _print(rows)


def compare(peer: Peer, pairs: int) -> dict[str, object]:
    """Time a spec's module against its peer."""
    torch.manual_seed(0)
    theirs = peer.make().eval()
    ours = compiler.to_torch(segdsl.load(peer.spec, **peer.settings)).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(1, 3, peer.size, peer.size)
    with torch.inference_mode():
        difference = _difference(ours(image), theirs(image))
        times = [_pair(ours, theirs, image, first=turn % 2) for turn in range(pairs + 1)][1:]
    ratios = [mine / other for mine, other in times]
    low, _, high = quantiles(ratios, n=4)
    return {
        "against": peer.package,
        "input": [1, 3, peer.size, peer.size],
        "largest_difference": difference,
        "emitted_cpu_seconds": spread(mine for mine, _ in times),
        "published_cpu_seconds": spread(other for _, other in times),
        "ratio": {
            "median": significant(median(ratios)),
            "quartiles": [significant(low), significant(high)],
            "pairs": len(ratios),
        },
    }


def _difference(ours: object, theirs: object) -> float:
    """The largest difference between two answers of the same maps."""
    mine, other = tensors(ours), tensors(theirs)
    assert [m.shape for m in mine] == [o.shape for o in other]
    return max(float((m - o).abs().max()) for m, o in zip(mine, other, strict=True))


def _pair(ours: nn.Module, theirs: nn.Module, image: Tensor, first: int) -> tuple[float, float]:
    """CPU seconds of one call of each; `first` 1 calls ours first, 0 theirs."""
    seconds = {}
    for module in (ours, theirs) if first else (theirs, ours):
        begin = process_time()
        module(image)
        seconds[module] = process_time() - begin
    return seconds[ours], seconds[theirs]


def _print(rows: dict[str, dict[str, object]]) -> None:
    lines = []
    for name, row in rows.items():
        ratio, mine, other = (
            row[key] for key in ("ratio", "emitted_cpu_seconds", "published_cpu_seconds")
        )
        assert isinstance(ratio, dict)
        assert isinstance(mine, dict)
        assert isinstance(other, dict)
        met = "met" if abs(ratio["median"] - 1) <= BAR else "MISSED"
        quartiles = "{:.3f}..{:.3f}".format(*ratio["quartiles"])
        middle = (mine["median"], other["median"], ratio["median"])
        lines.append((name, *middle, quartiles, row["largest_difference"], met))
    head = ["medians", "emitted s", "published s", "ratio", "quartiles", "difference", "bar"]
    table(head, lines)


if __name__ == "__main__":
    main()
