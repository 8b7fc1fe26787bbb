//! What a shard shows, compared with the model.

use super::{DBS, GLOBS, Run, TAGS, bytes};
use crate::model::Held;
use std::collections::BTreeMap;
use sutra_shard::{Filters, Lookup, Scope, Search, Value};

impl Run {
    pub(crate) fn look(&mut self) {
        let Some((_, space)) = self.space() else { return };
        let db = self.random.below(DBS) as u8;
        let vector = self.vector(&space);
        let min = self.threshold(&space, &vector);
        let now_ms = self.model.now_ms;
        let query = space.query(&bytes(&vector)).unwrap();
        let tag = self.pick(&TAGS);
        let tags: &[&[u8]] = if self.random.one_in(3) { &[tag] } else { &[] };
        let pattern = self.pick(&GLOBS);
        let glob = self.random.one_in(4).then_some(pattern);
        let max_age_ms = self.random.one_in(4).then(|| [0, 100, 1000][self.random.below(3) as usize]);
        let filters = Filters { tags, glob, max_age_ms };
        let ranked = self.model.ranked(db, space.id(), &vector, |key, note| {
            tags.iter().all(|tag| note.tags.iter().any(|own| own == tag))
                && glob.is_none_or(|pattern| sutra_shard::glob::matches(pattern, key))
                && max_age_ms.is_none_or(|age| note.written_ms + age >= now_ms)
        });
        let what = format!("{}: in {db} MIN {min} {filters:?}", self.what);
        let count = [1, 3, usize::MAX >> 1][self.random.below(3) as usize];
        let search = Search {
            db,
            space: &space,
            query: &query,
            count: count.min(1 << 20),
            min: Some(min),
            filters,
            exact: false,
            ef: None,
            with_values: true,
            reader: None,
        };
        let hits = self.shard().search(&search, now_ms).unwrap();
        let at_least: Vec<&(f32, Vec<u8>)> = ranked.iter().filter(|(similarity, _)| *similarity >= min).collect();
        let mut found: Vec<(f32, Vec<u8>)> = hits.iter().map(|hit| (hit.similarity, hit.key.clone())).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let similarities = |hits: &[(f32, Vec<u8>)]| hits.iter().map(|hit| hit.0.to_bits()).collect::<Vec<_>>();
        let expected: Vec<(f32, Vec<u8>)> = at_least.iter().take(count).map(|hit| (*hit).clone()).collect();
        assert_eq!(similarities(&found), similarities(&expected), "search {what}: {found:?} {expected:?}");
        assert!(found.iter().all(|hit| at_least.contains(&hit)), "search {what}: {found:?} {at_least:?}");
        if count > ranked.len() {
            assert_eq!(found, expected, "search {what}");
        }
        for hit in &hits {
            let item = &self.model.items[&(db, hit.key.clone())];
            assert_eq!(item.held, Held::Bytes(hit.value.to_vec()), "search {what}");
        }
        let runner_up = self.random.one_in(2);
        let lookup = Lookup {
            db,
            space: &space,
            query: &query,
            min,
            filters,
            asked: None,
            runner_up,
            exact: false,
            ef: None,
            reader: None,
        };
        let hit = self.shard().lookup(&lookup, now_ms).unwrap();
        assert_eq!(hit.as_ref().map(|hit| hit.similarity), at_least.first().map(|best| best.0), "lookup {what}");
        if let Some(hit) = hit {
            assert!(at_least.contains(&&(hit.similarity, hit.key.clone())), "lookup {what}");
            let margin = ranked.get(1).filter(|_| runner_up).map(|second| hit.similarity - second.0);
            assert_eq!(hit.margin, margin, "lookup {what}");
        }
    }

    pub(crate) fn check(&mut self) {
        let shard = self.shard();
        let now_ms = self.model.now_ms;
        let rows = shard.check_meaning(now_ms).unwrap_or_else(|wrong| panic!("{}: {wrong}", self.what));
        let annotated = self.model.all_live().filter(|(_, item)| item.note.is_some()).count() as u64;
        assert!(rows >= annotated, "{}: {rows} rows of {annotated} entries", self.what);
        for db in 0..DBS as u8 {
            let txn = shard.begin(Scope::All, now_ms);
            let (mut cursor, mut seen) = (0, Vec::new());
            loop {
                cursor = txn.scan(db, cursor, 7, &mut |key, _| seen.push(key.to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            seen.sort();
            let live: Vec<Vec<u8>> =
                self.model.all_live().filter(|(key, _)| key.0 == db).map(|(key, _)| key.1.clone()).collect();
            assert_eq!(seen, live, "{}: scan of {db}", self.what);
            for key in live {
                let item = &self.model.items[&(db, key.clone())];
                let entry = txn.peek(db, &key).unwrap_or_else(|| panic!("{}: no {key:?}", self.what));
                let held = match entry.value {
                    Value::String(string) => Held::Bytes(string.as_slice().to_vec()),
                    Value::Hash(hash) => Held::Hash(hash.iter(now_ms).map(|(f, v)| (f.to_vec(), v.to_vec())).collect()),
                };
                assert_eq!((held, entry.expires_at_ms), (item.held.clone(), item.expires_at_ms), "{}", self.what);
                if let Some(note) = &item.note {
                    let (_, details) = txn.details(db, &key).unwrap().unwrap();
                    let age_ms = Some(now_ms - note.written_ms);
                    assert_eq!((details.age_ms, &details.tags), (age_ms, &note.tags), "{}: {key:?}", self.what);
                    assert_eq!((&details.deps, &details.meta), (&note.deps, &note.meta), "{}: {key:?}", self.what);
                    assert_eq!(details.has_vector, note.vector.is_some(), "{}: {key:?}", self.what);
                }
            }
            drop(txn);
            let tags: BTreeMap<Vec<u8>, u64> = shard.tags(db, now_ms).into_iter().collect();
            assert_eq!(tags, self.model.tags(db), "{}: tags of {db}", self.what);
        }
    }
}
