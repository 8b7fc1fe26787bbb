#!/usr/bin/env python3
"""Other graphs on the vectors that crates/hnsw-index/examples/graph.rs is measured with.

  pip install numpy usearch hnswlib
  graph_peers.py BASE.npy QUERIES.npy [--n ROWS] [--m 16] [--ef-construction 128] [--peers usearch-i8,usearch-f32,hnswlib]

One thread; seconds are those that the process ran. Recall is counted against exact cosine in f32, twice: of the ten nearest, how many are among the first ten
that a search returned, and how many among the first twenty (what rescoring twenty candidates exactly would give).
usearch-i8 gets the same codes as we use, one byte a dimension scaled by the row's largest value, not its own.
"""
import argparse, resource, time
from concurrent.futures import ProcessPoolExecutor
import numpy as np

EFS = (20, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def codes(x):
    return np.rint(x / np.abs(x).max(axis=1, keepdims=True) * 127).astype(np.int8)


def truth(base, queries):
    best = np.empty((len(queries), 10), np.int64)
    for i in range(0, len(queries), 100):
        q = queries[i:i + 100]
        near = [q @ base[j:j + 100_000].T for j in range(0, len(base), 100_000)]
        best[i:i + 100] = np.argpartition(-np.hstack(near), 10, axis=1)[:, :10]
    return best


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


class Usearch:
    def __init__(self, dim, n, args, kind):
        from usearch.index import Index
        self.kind = kind
        self.index = Index(ndim=dim, metric="cos", dtype=kind, connectivity=args.m,
                           expansion_add=args.ef_construction, expansion_search=64)

    def prepare(self, x):
        return codes(x) if self.kind == "i8" else x

    def add(self, keys, x):
        self.index.add(keys, x, threads=1)

    def ef(self, ef):
        self.index.expansion_search = ef

    def search(self, q, k):
        return self.index.search(q, k, threads=1).keys


class Hnswlib:
    def __init__(self, dim, n, args, kind):
        import hnswlib
        self.index = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(max_elements=n, M=args.m, ef_construction=args.ef_construction)
        self.index.set_num_threads(1)

    def prepare(self, x):
        return x

    def add(self, keys, x):
        self.index.add_items(x, keys, num_threads=1)

    def ef(self, ef):
        self.index.set_ef(ef)

    def search(self, q, k):
        return self.index.knn_query(q, k, num_threads=1)[0]


PEERS = {"usearch-i8": (Usearch, "i8"), "usearch-f32": (Usearch, "f32"), "usearch-f16": (Usearch, "f16"), "hnswlib": (Hnswlib, "f32")}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("base"); p.add_argument("queries"); p.add_argument("--n", type=int)
    p.add_argument("--m", type=int, default=16); p.add_argument("--ef-construction", type=int, default=128)
    p.add_argument("--peers", default="usearch-i8,usearch-f32,hnswlib")
    args = p.parse_args()
    base, queries = np.load(args.base, mmap_mode="r")[:args.n], np.load(args.queries)
    n, dim = base.shape
    with ProcessPoolExecutor(1) as apart:  # so that memory freed here is not used again by a graph, unseen
        right = apart.submit(truth, base, queries).result()
    print(f"{n} x {dim}, {len(queries)} queries, M {args.m}, ef_construction {args.ef_construction}")
    for name in args.peers.split(","):
        make, kind = PEERS[name]
        before = resident()
        peer = make(dim, n, args, kind)
        q = peer.prepare(queries)
        spent = 0.0
        for i in range(0, n, 10_000):
            x = peer.prepare(np.ascontiguousarray(base[i:i + 10_000]))
            start = time.process_time()
            peer.add(np.arange(i, i + len(x)), x)
            spent += time.process_time() - start
        print(f"{name}: {n / spent:.0f} inserts/s, {(resident() - before) / n:.0f} bytes a row resident with its vector", flush=True)
        for ef in EFS:
            peer.ef(ef)
            best = float("inf")
            for _ in range(3):
                start = time.process_time()
                found = np.asarray(peer.search(q, 20)).astype(np.int64)
                best = min(best, time.process_time() - start)
            ten = np.mean([len(np.intersect1d(f[:10], r)) for f, r in zip(found, right)]) / 10
            twenty = np.mean([len(np.intersect1d(f, r)) for f, r in zip(found, right)]) / 10
            print(f"  ef {ef:4}  recall@10 {ten:.4f}, rescored {twenty:.4f}  {len(q) / best:8.0f} queries/s", flush=True)


if __name__ == "__main__":
    main()
