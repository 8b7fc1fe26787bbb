"""What applications do with a cache: the calls of Celery's and Django's backends, and of a RAG service's embedding and answer caches."""

import array
import hashlib
import json
import pickle
import random

import redis


def embedding(seed, dimension=384):
    generator = random.Random(seed)
    return array.array("f", (generator.uniform(-1, 1) for _ in range(dimension))).tobytes()


def embedding_key(text, model="minilm"):
    return f"emb:{model}:{hashlib.sha256(text.encode()).hexdigest()}"


def test_task_results_are_stored_as_a_task_queue_does(client):
    for number in range(50):
        result = {"status": "SUCCESS", "result": {"n": number, "text": "\u00fc" * number}, "traceback": None}
        client.setex(f"celery-task-meta-{number}", 86400, json.dumps(result))
    stored = client.mget([f"celery-task-meta-{number}" for number in range(50)])
    assert [json.loads(value)["result"]["n"] for value in stored] == list(range(50))
    assert 86390 < client.ttl("celery-task-meta-7") <= 86400
    assert client.delete("celery-task-meta-7") == 1


def test_a_web_framework_caches_pickles(client):
    value = {"user": 42, "groups": {"a", "b"}, "blob": b"\x00\r\n\xff"}
    client.set(":1:session", pickle.dumps(value), ex=300)
    assert pickle.loads(client.get(":1:session")) == value
    assert client.set(":1:lock", "me", nx=True, px=30000) is True
    assert client.set(":1:lock", "other", nx=True, px=30000) is None
    assert client.expire(":1:session", 600) and client.ttl(":1:session") > 300
    client.set(":1:hits", 1)
    assert client.incrby(":1:hits", 10) == 11
    for key in client.scan_iter(":1:*"):
        client.unlink(key)
    assert client.dbsize() == 0


def test_a_rate_limit_counts_within_its_window(client):
    with client.pipeline() as pipeline:
        for number in range(1, 6):
            pipeline.incr("rate:user:7").expire("rate:user:7", 60, nx=True)
            assert pipeline.execute() == [number, number == 1]


def test_100_embeddings_are_fetched_at_once(client):
    texts = [f"question {n}" for n in range(100)]
    with client.pipeline(transaction=False) as pipeline:
        for n, text in enumerate(texts):
            pipeline.set(embedding_key(text), embedding(n), ex=3600)
        pipeline.execute()
    keys = [embedding_key(text) for text in texts]
    assert client.mget(keys) == [embedding(n) for n in range(100)]
    mixed = client.mget([embedding_key("unknown"), keys[5], embedding_key("too")])
    assert mixed == [None, embedding(5), None]


def test_answers_are_hashes_with_a_time_to_live(client):
    """As LangChain's cache writes them: a hash of generations for each prompt."""
    for number in range(20):
        key = hashlib.md5(f"prompt {number}|model".encode()).hexdigest()
        generations = {str(n): json.dumps({"text": f"answer {number}.{n}", "cost": 0.002}) for n in range(3)}
        with client.pipeline() as pipeline:
            pipeline.hset(key, mapping=generations).expire(key, 3600)
            assert pipeline.execute() == [3, True]
    key = hashlib.md5(b"prompt 7|model").hexdigest()
    answers = client.hgetall(key)
    assert json.loads(answers[b"2"])["text"] == "answer 7.2"
    assert client.ttl(key) > 3500


def test_a_cache_that_overflows_evicts_and_never_lies(start_server):
    server = start_server(MAX_MEMORY="16mb", EVICTION_POLICY="lru")
    client = redis.Redis(port=server.port)
    for start in range(0, 20000, 500):
        with client.pipeline(transaction=False) as pipeline:
            for n in range(start, start + 500):
                pipeline.set(f"e{n}", embedding(n))
            assert pipeline.execute() == [True] * 500
    found = {n: value for n, value in enumerate(client.mget([f"e{n}" for n in range(20000)])) if value is not None}
    assert all(value == embedding(n) for n, value in found.items())
    assert 2000 < len(found) < 11000, "30 MB went into 16"
    assert sum(n >= 19000 for n in found) > 900, "what was written last is still there"
