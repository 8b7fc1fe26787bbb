#!/usr/bin/env python3
"""Peers on the vectors of `sutra-bench meaning`, which starts this program and reads the lines of JSON that it prints.

  pip install numpy faiss-cpu usearch hnswlib
  peers.py ranges BASE.npy QUERIES.npy 0.7,0.8
  peers.py graphs BASE.npy QUERIES.npy ROWS FRESH.npy ORDER.npy CHURNED.npy [NAME,NAME]

ranges: faiss IndexFlatIP, everything of at least a cosine. graphs: an index of the first ROWS rows; then row ORDER[i] is removed and
row ROWS + i added for every i. FRESH and CHURNED hold the ten true neighbours of each query before and after. One thread everywhere;
times are of the processor.
"""
import json, os, resource, sys, time

try:
    import numpy as np
except ImportError:
    sys.exit(print(json.dumps({"missing": "numpy"})))

M, EF_CONSTRUCTION, K = 16, 128, 10
EFS = (10, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)
RECALL, ROUNDS, BLOCK = 0.99, 3, 10_000


def say(**line):
    print(json.dumps(line), flush=True)


def resident():
    with open("/proc/self/statm") as f:
        fields = f.read().split()
        return (int(fields[1]) - int(fields[2])) * resource.getpagesize()  # without the mapped file


def ranges(base, queries, thresholds):
    try:
        import faiss
    except ImportError:
        return say(missing="faiss")
    faiss.omp_set_num_threads(1)
    base, queries = np.load(base, mmap_mode="r"), np.load(queries)
    index = faiss.IndexFlatIP(base.shape[1])
    for i in range(0, len(base), BLOCK):
        index.add(np.ascontiguousarray(base[i:i + BLOCK]))
    index.range_search(queries[:1], 0.99)
    for least in map(float, thresholds.split(",")):
        wall, cpu, found = [], [], 0
        for q in queries:
            start, cpu_start = time.perf_counter(), time.process_time()
            limits, _, _ = index.range_search(q[None], least)
            cpu.append(time.process_time() - cpu_start)
            wall.append(time.perf_counter() - start)
            found += int(limits[-1])
        say(what="faiss IndexFlatIP", least=least, median_ms=float(np.median(wall)) * 1e3,
            cpu_ms=float(np.median(cpu)) * 1e3, found=found)


class Usearch:
    can_remove = True

    def __init__(self, dim, n, kind):
        from usearch.index import Index
        self.kind = kind
        self.index = Index(ndim=dim, metric="cos", dtype=kind, connectivity=M, expansion_add=EF_CONSTRUCTION)

    def prepare(self, x):
        # One byte a dimension, scaled by the row's largest value: what our codes are.
        return np.rint(x / np.abs(x).max(axis=1, keepdims=True) * 127).astype(np.int8) if self.kind == "i8" else x

    def add(self, keys, x):
        self.index.add(keys, x, threads=1)

    def replace(self, old, keys, x):
        for o, k, v in zip(old, keys, x):
            self.index.remove(int(o), threads=1)
            self.index.add(int(k), v, threads=1)

    def ef(self, ef):
        self.index.expansion_search = ef

    def search(self, q, k):
        return np.asarray(self.index.search(q, k, threads=1).keys)


class Hnswlib:
    can_remove = True

    def __init__(self, dim, n, kind):
        import hnswlib
        self.index = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(max_elements=n, M=M, ef_construction=EF_CONSTRUCTION, allow_replace_deleted=True)
        self.index.set_num_threads(1)

    def prepare(self, x):
        return x

    def add(self, keys, x):
        self.index.add_items(x, keys, num_threads=1)

    def replace(self, old, keys, x):
        for o, k, v in zip(old, keys, x):
            self.index.mark_deleted(int(o))
            self.index.add_items(v[None], np.array([k]), num_threads=1, replace_deleted=True)

    def ef(self, ef):
        self.index.set_ef(ef)

    def search(self, q, k):
        return self.index.knn_query(q, k, num_threads=1)[0]


class Faiss:
    can_remove = False

    def __init__(self, dim, n, kind):
        import faiss
        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(dim, M, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION

    def prepare(self, x):
        return x

    def add(self, keys, x):
        self.index.add(x)

    def ef(self, ef):
        self.index.hnsw.efSearch = ef

    def search(self, q, k):
        return self.index.search(q, k)[1]


PEERS = {"usearch i8": (Usearch, "i8"), "usearch f32": (Usearch, "f32"), "hnswlib": (Hnswlib, "f32"), "faiss HNSW": (Faiss, "f32")}


def sweep(peer, q, truth, rescored):
    """The narrowest search that finds enough: ef, recall, queries per second."""
    for ef in EFS:
        peer.ef(ef)
        best = float("inf")
        for _ in range(ROUNDS):
            start = time.process_time()
            found = np.asarray(peer.search(q, 2 * K)).astype(np.int64)
            best = min(best, time.process_time() - start)
        seen = found if rescored else found[:, :K]
        recall = float(np.mean([len(np.intersect1d(f, t)) for f, t in zip(seen, truth)])) / K
        if recall >= RECALL or ef == EFS[-1]:
            return dict(ef=ef, recall=recall, per_second=len(q) / best)


def graphs(base, queries, rows, fresh, order, churned, names=""):
    base, queries, rows = np.load(base, mmap_mode="r"), np.load(queries), int(rows)
    fresh, order, churned = (np.load(path).astype(np.int64) for path in (fresh, order, churned))
    order = order.ravel()
    for name, (make, kind) in PEERS.items():
        if not any(wanted in name for wanted in names.split(",")):
            continue
        # A process for each, so that none reuses the memory of another.
        child = os.fork()
        if child:
            if os.waitpid(child, 0)[1]:
                sys.exit(f"{name} failed")
            continue
        one_graph(name, make, kind, base, queries, rows, fresh, order, churned)
        sys.stdout.flush()
        os._exit(0)


def one_graph(name, make, kind, base, queries, rows, fresh, order, churned):
    before = resident()
    try:
        peer = make(base.shape[1], rows, kind)
    except ImportError:
        say(missing=name)
        return
    q, spent = peer.prepare(queries), 0.0
    for i in range(0, rows, BLOCK):
        x = peer.prepare(np.ascontiguousarray(base[i:min(i + BLOCK, rows)]))
        start = time.process_time()
        peer.add(np.arange(i, i + len(x)), x)
        spent += time.process_time() - start
    size = (resident() - before) / rows
    views = ((name, False), (name + ", rescored", True)) if kind == "i8" else ((name, False),)

    def report(state, truth, rate, size):
        for view, rescored in views:
            say(index=view, state=state, changes_per_second=rate, bytes=size, **sweep(peer, q, truth, rescored))

    report("fresh", fresh, rows / spent, size)
    if not peer.can_remove:
        return
    spent = 0.0
    for i in range(0, len(order), BLOCK):
        old = order[i:i + BLOCK]
        x = peer.prepare(np.ascontiguousarray(base[rows + i:rows + i + len(old)]))
        start = time.process_time()
        peer.replace(old, np.arange(rows + i, rows + i + len(old)), x)
        spent += time.process_time() - start
    report("half replaced", churned, len(order) / spent, (resident() - before) / rows)


if __name__ == "__main__":
    {"ranges": ranges, "graphs": graphs}[sys.argv[1]](*sys.argv[2:])
