//! One flight for all callers in this process that want the same thing at once.
//!
//! The first caller starts it and everybody waits for how it lands. A flight belongs to none of its callers: it is flown by a task of its own,
//! so that a caller that goes away neither stops it nor leaves the others waiting. Whatever becomes of that task, a panic in it and the end of its
//! runtime included, the flight lands: its [`Landing`] is dropped with it.
//!
//! A flight leaves the list before its result is told. Whoever finds none starts one, and so never gets a result of before.

use crate::Error;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

type Result<T> = std::result::Result<T, Error>;
type UnderWay<T> = HashMap<Box<[u8]>, watch::Receiver<Option<Result<T>>>>;

/// The flights that are under way, by what they are for.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    under_way: Mutex<UnderWay<T>>,
}

/// Who waits for a flight.
#[derive(Debug)]
pub(crate) struct Passenger<T> {
    landed: watch::Receiver<Option<Result<T>>>,
}

/// Who flies: to be landed once.
#[derive(Debug)]
#[must_use = "dropping it lands the flight with an error"]
pub(crate) struct Landing<T> {
    flights: Arc<Flights<T>>,
    key: Box<[u8]>,
    told: Option<watch::Sender<Option<Result<T>>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        Flights { under_way: Mutex::new(HashMap::new()) }
    }
}

impl<T> Flights<T> {
    /// A seat in the flight that is under way, or in a new one that the caller has to fly.
    pub(crate) fn join(self: &Arc<Flights<T>>, key: &[u8]) -> (Passenger<T>, Option<Landing<T>>) {
        let mut under_way = self.under_way();
        if let Some(landed) = under_way.get(key) {
            return (Passenger { landed: landed.clone() }, None);
        }
        let (told, landed) = watch::channel(None);
        let key: Box<[u8]> = key.into();
        under_way.insert(key.clone(), landed.clone());
        (Passenger { landed }, Some(Landing { flights: Arc::clone(self), key, told: Some(told) }))
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay<T>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Passenger<T> {
    /// How it landed.
    pub(crate) async fn wait(mut self) -> Result<T> {
        match self.landed.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(unfinished(false))),
            Err(_) => Err(unfinished(false)),
        }
    }
}

impl<T> Landing<T> {
    /// Tells everybody.
    pub(crate) fn land(mut self, result: Result<T>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<T>) {
        if let Some(told) = self.told.take() {
            self.flights.under_way().remove(&self.key);
            told.send_replace(Some(result));
        }
    }
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.tell(Err(unfinished(std::thread::panicking())));
    }
}

/// The function that computes a value did not come to an end.
#[derive(Debug)]
struct Unfinished {
    panicked: bool,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.panicked { "it panicked" } else { "the runtime that it ran on has ended" })
    }
}

impl std::error::Error for Unfinished {}

fn unfinished(panicked: bool) -> Error {
    Error::Compute(Arc::new(Unfinished { panicked }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_come_before_it_lands_get_the_same_result_and_who_comes_later_starts_anew() {
        let flights = Arc::new(Flights::default());
        let (first, landing) = flights.join(b"k");
        let (second, none) = flights.join(b"k");
        assert!(none.is_none());
        assert!(flights.join(b"other").1.is_some(), "another key has a flight of its own");
        landing.expect("the first one flies").land(Ok(7));
        assert_eq!((first.wait().await.unwrap(), second.wait().await.unwrap()), (7, 7));
        assert!(flights.join(b"k").1.is_some());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_disturbs_nobody() {
        let flights = Arc::new(Flights::default());
        let (first, landing) = flights.join(b"k");
        drop(first);
        let (second, _) = flights.join(b"k");
        landing.expect("the first one flies").land(Ok(()));
        second.wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_flight_that_panics_is_an_error_for_all() {
        let flights = Arc::new(Flights::<()>::default());
        let (first, landing) = flights.join(b"k");
        let (second, _) = flights.join(b"k");
        let flown = tokio::spawn(async move {
            let _landing = landing;
            panic!("on purpose");
        });
        assert!(flown.await.unwrap_err().is_panic());
        for passenger in [first, second] {
            assert_eq!(passenger.wait().await.unwrap_err().to_string(), "the computation failed: it panicked");
        }
        assert!(flights.join(b"k").1.is_some(), "the next one can try");
    }
}
