// A session of ioredis with the server on the given port. Ends with exit code 0 and "done", or with the assertion that failed.

import assert from 'node:assert/strict'
import { Redis } from 'ioredis'

const [port, protocol] = process.argv.slice(2).map(Number)
const options = { port, protocol, maxRetriesPerRequest: 50, retryStrategy: () => 10 }
const redis = new Redis(options)

async function valuesAreBytesOrText () {
  const value = Buffer.from(Array.from({ length: 3072 }, (_, index) => index & 0xff))
  assert.equal(await redis.set('k', value, 'EX', 100), 'OK')
  assert.deepEqual(await redis.getBuffer('k'), value)
  assert.equal(await redis.set('text', 'sch\u00f6n'), 'OK')
  assert.equal(await redis.get('text'), 'sch\u00f6n')
  assert.equal(await redis.get('missing'), null)
  const ttl = await redis.ttl('k')
  assert.ok(ttl > 90 && ttl <= 100)
  assert.deepEqual(await redis.mget('text', 'missing'), ['sch\u00f6n', null])
}

async function hashesAreObjects () {
  assert.equal(await redis.hset('h', { a: 1, b: 'zwei' }), 2)
  assert.deepEqual(await redis.hgetall('h'), { a: '1', b: 'zwei' })
  assert.deepEqual(await redis.hgetall('missing'), {})
  assert.equal(await redis.hincrby('h', 'a', 41), 42)
  assert.deepEqual(await redis.hmget('h', 'a', 'x'), ['42', null])
}

async function pipelines () {
  const pipeline = redis.pipeline()
  for (let n = 0; n < 1000; n++) pipeline.set(`p${n}`, n)
  pipeline.incr('text')
  const results = await pipeline.exec()
  assert.equal(results.length, 1001)
  assert.ok(results.slice(0, 1000).every(([error, result]) => error === null && result === 'OK'))
  assert.match(results[1000][0].message, /not an integer/)
}

async function transactions () {
  const results = await redis.multi().set('n', 1).incr('n').hgetall('h').exec()
  assert.deepEqual(results, [[null, 'OK'], [null, 2], [null, { a: '42', b: 'zwei' }]])
  const other = redis.duplicate()
  await redis.watch('n')
  await other.set('n', 10)
  assert.equal(await redis.multi().set('n', 0).exec(), null)
  assert.equal(await redis.get('n'), '10')
  await other.quit()
}

async function scanStreams () {
  const found = new Set()
  for await (const keys of redis.scanStream({ match: 'p*', count: 50 })) keys.forEach(key => found.add(key))
  assert.equal(found.size, 1000)
  const fields = []
  for await (const items of redis.hscanStream('h')) fields.push(...items)
  assert.equal(fields.length, 4)
}

async function aKilledConnectionComesBack () {
  const victim = redis.duplicate()
  await victim.ping()
  const id = await victim.client('ID')
  const reconnected = new Promise(resolve => victim.once('reconnecting', resolve))
  assert.equal(await redis.client('KILL', 'ID', id), 1)
  await reconnected
  assert.equal(await victim.set('after', 'kill'), 'OK')
  assert.notEqual(await victim.client('ID'), id)
  await victim.quit()
}

async function errorsKeepTheConnection () {
  await assert.rejects(redis.call('NOSUCH', 'x'), /unknown command/)
  await assert.rejects(redis.hget('text', 'f'), /WRONGTYPE/)
  assert.equal(await redis.ping(), 'PONG')
}

for (const step of [
  valuesAreBytesOrText, hashesAreObjects, pipelines, transactions, scanStreams, aKilledConnectionComesBack, errorsKeepTheConnection
]) {
  console.log(step.name)
  await step()
}
await redis.quit()
console.log('done')
