//! What concerns all shards: entries by meaning, by tag, by pattern.
//!
//! # Removals
//! They are sent to all shards at once. A shard that was not reached, or did not answer, **owes** the removal: it is carried out there before the
//! shard is read again ([`Node::come_back`]), so that what was to go does not come back with it. Too many such debts are one: to delete
//! everything. Who asked is told which shards failed ([`Scattered::failed`]).
//!
//! In this process the effect is there when the call returns. The shard's pushes are on their way when it answers, but they come on each
//! connection for itself, and the answer came on one of them. So the tiers of the shards that removed anything are dropped as a whole
//! instead of waiting for all connections: a removal by predicate is rare beside reads, and what is asked for again costs a round trip.
//! A shard that removed nothing keeps its tier. (Pushes keep the tiers of all *other* processes, entry by entry.)
//!
//! # Finding
//! Shards that are away are left out: the others may have a good answer. What a shard finds is passed over if its key is not that shard's under the routes
//! in force, since it may be outdated there ([`Cache::rebalance`]).

use super::{Cache, Node, OnFault, Ttl};
use crate::commands::{DryRun, Entry, Found, Hit, Invalidate, LoggedInvalidation, Lookup, Query, Search, ShardStats};
use crate::commands::{Expiry, SpaceOptions, TopEntry};
use crate::stats::{Counter, Operation};
use crate::{Client, Error, Reply, Request, reply};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Entries that a search returns if nobody says how many.
const SEARCH_COUNT_DEFAULT: usize = 10;

/// What came of a removal on all shards.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Scattered {
    /// How many entries were removed, on the shards that answered.
    pub count: u64,
    /// The shards that did not answer. They carry it out before they are read again.
    pub failed: Vec<(String, Error)>,
}

impl Scattered {
    /// Whether all shards have carried it out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

/// What the shards answered to a question.
struct Gathered<T> {
    answers: Vec<(Arc<Node>, T)>,
    failed: Vec<(String, Error)>,
}

impl Cache {
    // ---- writing ----

    /// Writes an entry with all that is to be known of it, to the shard that has its key. One without a time to live gets that of the cache.
    ///
    /// # Errors
    /// As [`Cache::set`](Cache::set_for); under a condition or with a lease also if the shard says so (`STALELEASE`, `HELD`).
    pub async fn set_entry(&self, entry: &Entry) -> Result<(), Error> {
        let value = entry.value.as_ref().map_err(Error::clone)?;
        match (entry.expiry(), self.ttl_of(Ttl::Default)) {
            (Expiry::Default, Some(ttl)) => {
                self.write(&entry.key, value, Some(ttl), entry.clone().ttl(ttl).request()?).await
            }
            (Expiry::Default, None) => self.write(&entry.key, value, None, entry.request()?).await,
            (Expiry::In(ttl), _) => self.write(&entry.key, value, Some(ttl), entry.request()?).await,
            // By the shard's clock: without the shard nobody knows when that is, and it is not served.
            (Expiry::At(_) | Expiry::Keep, _) => {
                self.write(&entry.key, value, Some(Duration::ZERO), entry.request()?).await
            }
        }
    }

    // ---- finding ----

    /// The best of what the shards find near enough. Its margin is to the next best of all shards.
    ///
    /// ```
    /// # use sutra_cache::embedded::Embedded;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let (one, other) = (Embedded::start(&[])?, Embedded::start(&[])?);
    /// use sutra_cache_client::{CacheBuilder, Config, Entry, Lookup};
    ///
    /// let cache = CacheBuilder::named("a", 1.0, Config::new(&one.url())?).shard("b", 1.0, Config::new(&other.url())?);
    /// let cache = cache.connect().await?;
    /// for (key, vector) in [("x", [1.0, 0.0]), ("y", [0.8, 0.6]), ("z", [0.0, 1.0])] {
    ///     cache.set_entry(&Entry::new(key, key).space("points").vector(&vector)).await?;
    /// }
    /// let hit = cache.lookup(&Lookup::new("points").vector(&[1.0, 0.0]).min(0.9)).await?.expect("there is one");
    /// assert_eq!(hit.key, "x");
    /// assert!((hit.margin.unwrap() - 0.2).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What a shard refuses it with (a vector of another dimension, no threshold); faults, if the cache was asked to return them.
    pub async fn lookup(&self, lookup: &Lookup) -> Result<Option<Hit>, Error> {
        let ask = |client: Client| async move { client.lookup(lookup).await };
        let gathered = self.gather(Operation::Lookup, ask).await?;
        let (mut hits, mut silent) = (Vec::new(), Vec::new());
        for (node, answer) in gathered.answers {
            match answer {
                Some(hit) if self.is_at_home(&node, &hit.key) => hits.push(hit),
                Some(_) => {}
                None => silent.push(node),
            }
        }
        hits.sort_by(|one, other| best_first((one.similarity, &one.key), (other.similarity, &other.key)));
        let mut hits = hits.into_iter();
        let Some(mut best) = hits.next() else {
            self.counters().count(Counter::Misses);
            return Ok(None);
        };
        self.counters().count(Counter::L2Hits);
        // Where nothing was near enough there may still be the next best.
        let search = lookup.neighbours(1);
        let nearest = silent.iter().map(|node| node.guarded(Operation::Lookup, node.client.search(&search)));
        let below = join_all(nearest).await.into_iter().flatten().flatten().map(|found| found.similarity);
        let margins = below.chain(hits.map(|hit| hit.similarity)).map(|similarity| best.similarity - similarity);
        best.margin = margins.chain(best.margin).min_by(f64::total_cmp);
        Ok(Some(best))
    }

    /// The nearest entries of all shards, best first.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn search(&self, search: &Search) -> Result<Vec<Found>, Error> {
        let ask = |client: Client| async move { client.search(search).await };
        let gathered = self.gather(Operation::Lookup, ask).await?;
        let each = gathered.answers.into_iter();
        let mut all: Vec<Found> = each
            .flat_map(|(node, found)| found.into_iter().filter(move |found| self.is_at_home(&node, &found.key)))
            .collect();
        all.sort_by(|one, other| best_first((one.similarity, &one.key), (other.similarity, &other.key)));
        all.truncate(search.count_given().unwrap_or(SEARCH_COUNT_DEFAULT));
        Ok(all)
    }

    // ---- removing ----

    /// Removes every entry that meets all conditions, on all shards. When this returns, none of them is served again by the shards that
    /// answered, nor by this process; by the others not when they are back.
    ///
    /// ```
    /// # use sutra_cache::embedded::Embedded;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = Embedded::start(&[])?;
    /// use sutra_cache_client::{Cache, Entry, Invalidate};
    ///
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set_entry(&Entry::new("answer", "In 30 days.").dep("doc:17", 3)).await?;
    /// let removed = cache.invalidate(&Invalidate::new().dep_below("doc:17", 4)).await?;
    /// assert_eq!((removed.count, removed.is_complete()), (1, true));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What a shard refuses it with; other shards may have carried it out. Faults, if the cache was asked to return them.
    pub async fn invalidate(&self, invalidate: &Invalidate) -> Result<Scattered, Error> {
        self.remove_everywhere(invalidate.request(), invalidate.space_name(), reply::count).await
    }

    /// Removes every entry of the space that is at least so similar to this vector or text, on all shards.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn semantic_invalidate(
        &self,
        space: &str,
        query: impl Into<Query>,
        threshold: f64,
    ) -> Result<Scattered, Error> {
        self.invalidate(&Invalidate::new().space(space).query(query).min(threshold)).await
    }

    /// Removes every entry with this tag, on all shards.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Result<Scattered, Error> {
        self.invalidate(&Invalidate::new().tag(tag)).await
    }

    /// Removes every entry whose key matches the glob pattern, on all shards.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn invalidate_pattern(&self, pattern: impl AsRef<[u8]>) -> Result<Scattered, Error> {
        self.invalidate(&Invalidate::new().matching(pattern)).await
    }

    /// What an invalidation would remove, of all shards together.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn dry_run(&self, invalidate: &Invalidate) -> Result<DryRun, Error> {
        let ask = |client: Client| async move {
            match client.dry_run(invalidate).await {
                Err(error) if lacks_space(&client, &error, invalidate.space_name()).await => Ok(DryRun::default()),
                answer => answer,
            }
        };
        let gathered = self.gather(Operation::Invalidate, ask).await?;
        let mut all = DryRun::default();
        for (_, mut run) in gathered.answers {
            all.count += run.count;
            all.samples.append(&mut run.samples);
            for (edge, count) in run.histogram {
                match all.histogram.iter_mut().find(|(other, _)| *other == edge) {
                    Some((_, sum)) => *sum += count,
                    None => all.histogram.push((edge, count)),
                }
            }
        }
        // Those that are nearest to the threshold, which are the least similar of what is removed, come first.
        let of = |similarity: Option<f64>| similarity.unwrap_or(0.0);
        all.samples.sort_by(|one, other| of(one.1).total_cmp(&of(other.1)).then_with(|| one.0.cmp(&other.0)));
        all.samples.truncate(invalidate.samples_given().unwrap_or(SEARCH_COUNT_DEFAULT));
        all.histogram.sort_by(|one, other| one.0.total_cmp(&other.0));
        Ok(all)
    }

    /// The latest invalidations of each shard, newest first. The same one has another number on each.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn log(&self, count: u64) -> Result<Vec<(String, Vec<LoggedInvalidation>)>, Error> {
        self.gather(Operation::Other, |client| async move { client.log(count).await }).await.map(Gathered::named)
    }

    /// Takes back an invalidation of one shard, by its number there; how many entries are set again.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no shard of this name; what the shard refuses it with, and its faults.
    pub async fn undo(&self, shard: &str, lsn: u64) -> Result<u64, Error> {
        let node = self.nodes().into_iter().find(|node| node.name == shard);
        let node = node.ok_or_else(|| Error::Config(format!("there is no shard {shard}")))?;
        node.call(Operation::Invalidate, Request::new("CACHE.UNDO").number(lsn)).await.and_then(reply::count)
    }

    // ---- spaces ----

    /// Makes the space on all shards. One that is away does not get it: make it again when [`Cache::shards`] says that it is back.
    ///
    /// # Errors
    /// What a shard refuses it with; the fault of one that did not answer, whatever the cache was asked to do with faults.
    pub async fn space_create(&self, name: &str, options: &SpaceOptions) -> Result<(), Error> {
        let gathered = self.gather(Operation::Manage, |client| async move { client.space_create(name, options).await });
        gathered.await?.failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Removes the space with all its entries, on all shards.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn space_drop(&self, name: &str) -> Result<Scattered, Error> {
        self.remove_everywhere(Request::read("CACHE.SPACE").args(["DROP", name]), Some(name), reply::count).await
    }

    /// Begins a new generation of the space on all shards: what it held is gone at once. How many there were is not counted.
    ///
    /// # Errors
    /// As [`Cache::invalidate`].
    pub async fn space_bump(&self, name: &str) -> Result<Scattered, Error> {
        let request = Request::read("CACHE.SPACE").args(["BUMP", name]);
        let bumped = self.remove_everywhere(request, Some(name), |answer| reply::count(answer).map(|_| 1)).await?;
        Ok(Scattered { count: 0, ..bumped })
    }

    /// The names of the spaces that any shard has.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn space_list(&self) -> Result<Vec<String>, Error> {
        let gathered = self.gather(Operation::Other, |client| async move { client.space_list().await }).await?;
        let mut names: Vec<String> = gathered.answers.into_iter().flat_map(|(_, names)| names).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    // ---- looking at it ----

    /// The statistics of each shard, of all time or of the last while.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn shard_stats(&self, since: Option<Duration>) -> Result<Vec<(String, ShardStats)>, Error> {
        self.gather(Operation::Other, |client| async move { client.shard_stats(since).await })
            .await
            .map(Gathered::named)
    }

    /// What each shard answers to a question about itself, in words.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn ask(&self, question: &str) -> Result<Vec<(String, String)>, Error> {
        self.gather(Operation::Other, |client| async move { client.ask(question).await }).await.map(Gathered::named)
    }

    /// The entries that native commands have served most often, of all shards.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn top(&self, count: u64, since: Option<Duration>) -> Result<Vec<TopEntry>, Error> {
        let gathered = self.gather(Operation::Other, |client| async move { client.top(count, since).await }).await?;
        let each = gathered.answers.into_iter();
        let mut all: Vec<TopEntry> = each
            .flat_map(|(node, top)| top.into_iter().filter(move |entry| self.is_at_home(&node, &entry.key)))
            .collect();
        all.sort_by(|one, other| other.hits.cmp(&one.hits).then_with(|| one.key.cmp(&other.key)));
        all.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// The tags and how many entries have them, on all shards together, most first.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn tags(&self) -> Result<Vec<(String, u64)>, Error> {
        let gathered = self.gather(Operation::Other, |client| async move { client.tags().await }).await?;
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (tag, count) in gathered.answers.into_iter().flat_map(|(_, tags)| tags) {
            *sums.entry(tag).or_default() += count;
        }
        let mut all: Vec<_> = sums.into_iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(all)
    }

    // ---- how it is done ----

    /// Whether the key is this shard's under the routes in force: what lies elsewhere may be outdated.
    pub(super) fn is_at_home(&self, node: &Arc<Node>, key: &[u8]) -> bool {
        Arc::ptr_eq(&self.node(key), node)
    }

    /// Asks all shards at once. Those that are away or fail are left out, or their error is returned, as the cache was asked to do with faults.
    async fn gather<T, R: Future<Output = Result<T, Error>>>(
        &self,
        operation: Operation,
        ask: impl Fn(Client) -> R,
    ) -> Result<Gathered<T>, Error> {
        let nodes = self.nodes();
        let answers = join_all(nodes.iter().map(|node| {
            let answer = (!node.is_away()).then(|| node.guarded(operation, ask(node.client.clone())));
            async move {
                match answer {
                    Some(answer) => answer.await.inspect_err(|error| node.note_fault(error)),
                    None => Err(Error::BreakerOpen),
                }
            }
        }));
        let mut gathered = Gathered { answers: Vec::new(), failed: Vec::new() };
        for (node, answer) in nodes.iter().zip(answers.await) {
            match answer {
                Ok(answer) => gathered.answers.push((Arc::clone(node), answer)),
                Err(error) if error.is_fault() && self.inner.builder.on_fault == OnFault::Miss => {
                    gathered.failed.push((node.name.clone(), error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(gathered)
    }

    /// Sends a removal that does no harm twice to all shards.
    async fn remove_everywhere(
        &self,
        request: Request,
        space: Option<&str>,
        read: impl Fn(Reply) -> Result<u64, Error> + Copy,
    ) -> Result<Scattered, Error> {
        let (mut all, mut refused) = (Scattered::default(), None);
        let mut asked: Vec<Arc<Node>> = Vec::new();
        loop {
            // One that joined meanwhile may have got copies of what is removed.
            let nodes = self.nodes().into_iter();
            let new: Vec<_> = nodes.filter(|node| !asked.iter().any(|asked| Arc::ptr_eq(asked, node))).collect();
            if new.is_empty() {
                break;
            }
            let removals = join_all(new.iter().map(|node| remove(node, &request, space, read))).await;
            for (node, removed) in new.iter().zip(removals) {
                match removed {
                    Ok(count) => all.count += count,
                    Err(error) if error.is_fault() => all.failed.push((node.name.clone(), error)),
                    Err(error) => refused = Some(error),
                }
            }
            asked.extend(new);
        }
        match (refused, all.failed.first()) {
            (Some(error), _) => Err(error),
            (None, Some((_, error))) if self.inner.builder.on_fault == OnFault::Error => Err(error.clone()),
            (None, _) => Ok(all),
        }
    }
}

impl<T> Gathered<T> {
    fn named(self) -> Vec<(String, T)> {
        self.answers.into_iter().map(|(node, answer)| (node.name.clone(), answer)).collect()
    }
}

async fn remove(
    node: &Arc<Node>,
    request: &Request,
    space: Option<&str>,
    read: impl Fn(Reply) -> Result<u64, Error>,
) -> Result<u64, Error> {
    let mut forgetting = ForgettingAll { node, is_needed: true };
    let answer = node.call(Operation::Invalidate, request.clone()).await.and_then(read);
    match answer {
        Ok(count) => {
            forgetting.is_needed = count > 0;
            Ok(count)
        }
        Err(error) if error.is_fault() => {
            node.owe_invalidation(request.clone(), space);
            Err(error)
        }
        Err(error) if lacks_space(&node.client, &error, space).await => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether the shard has refused a command because the space that it names was never made there: nothing is in it.
pub(super) async fn lacks_space(client: &Client, error: &Error, space: Option<&str>) -> bool {
    match (error, space) {
        (Error::Server(_), Some(space)) => {
            client.space_list().await.is_ok_and(|names| !names.iter().any(|name| name == space))
        }
        _ => false,
    }
}

fn best_first(one: (f64, &[u8]), other: (f64, &[u8])) -> std::cmp::Ordering {
    other.0.total_cmp(&one.0).then_with(|| one.1.cmp(other.1))
}

/// Empties the tier in this process when a removal has ended, however it ended.
struct ForgettingAll<'a> {
    node: &'a Node,
    is_needed: bool,
}

impl Drop for ForgettingAll<'_> {
    fn drop(&mut self) {
        if let (true, Some(l1)) = (self.is_needed, &self.node.l1) {
            l1.invalidate_all();
        }
    }
}
