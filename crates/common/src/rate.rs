//! How often something may happen: a bucket for each key, which empties with each time and fills
//! up again evenly (GCRA, the generic cell rate algorithm).

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Keys that are remembered. One costs some 40 bytes.
const MOST_KEYS: usize = 100_000;

/// So many at once, and then one after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub every: Duration,
}

impl Rate {
    /// So many in a minute, at once or one by one.
    pub fn per_minute(count: u32) -> Self {
        Self { burst: count, every: Duration::from_secs(60) / count.max(1) }
    }
}

/// The buckets of many keys, in this process's memory. A full bucket is not remembered; should
/// there be too many others, those that are nearly full are forgotten.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    /// When each will be full again.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::default() }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one out.
    ///
    /// # Errors
    /// There is none left; how long until there is.
    pub fn take(&self, key: K) -> Result<(), Duration> {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.lock();
        let full = full_at.get(&key).map_or(now, |full| now.max(*full)) + self.rate.every;
        let empty = self.rate.every * self.rate.burst;
        let until_full = full - now;
        if until_full > empty {
            return Err(until_full - empty);
        }
        if full_at.len() >= MOST_KEYS && !full_at.contains_key(&key) {
            forget_some(&mut full_at, now);
        }
        full_at.insert(key, full);
        Ok(())
    }

    /// Puts back what was taken.
    pub fn give_back(&self, key: &K) {
        if let Some(full) = self.lock().get_mut(key) {
            *full = full.checked_sub(self.rate.every).unwrap_or(*full);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The full ones, and if that is not enough, that half which will be full first.
fn forget_some<K: Clone + Eq + Hash>(full_at: &mut HashMap<K, Instant>, now: Instant) {
    full_at.retain(|_, full| *full > now);
    if full_at.len() >= MOST_KEYS / 2 {
        let mut times: Vec<Instant> = full_at.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        full_at.retain(|_, full| *full > median);
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Duration, Instant, MOST_KEYS, Rate};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_empties_and_fills_up_again() {
        let buckets = Buckets::new(Rate { burst: 3, every: SECOND * 10 });
        let now = Instant::now();
        for _ in 0..3 {
            buckets.take_at("a", now).expect("one is left");
        }
        assert_eq!(buckets.take_at("a", now), Err(SECOND * 10));
        buckets.take_at("b", now).expect("another key, another bucket");
        assert_eq!(buckets.take_at("a", now + SECOND * 4), Err(SECOND * 6), "asking in vain costs nothing");
        buckets.take_at("a", now + SECOND * 10).expect("one has come back");
        assert_eq!(buckets.take_at("a", now + SECOND * 10), Err(SECOND * 10));
        buckets.give_back(&"a");
        buckets.take_at("a", now + SECOND * 10).expect("one was put back");
        for _ in 0..3 {
            buckets.take_at("a", now + SECOND * 100).expect("full again, and no fuller");
        }
        buckets.take_at("a", now + SECOND * 100).expect_err("empty");
    }

    #[test]
    fn so_many_in_a_minute() {
        assert_eq!(Rate::per_minute(120), Rate { burst: 120, every: SECOND / 2 });
    }

    #[test]
    fn memory_is_bounded_and_the_emptiest_are_remembered() {
        let buckets = Buckets::new(Rate { burst: 2, every: SECOND });
        let now = Instant::now();
        for _ in 0..2 {
            buckets.take_at(usize::MAX, now).expect("two are left");
        }
        for key in 0..MOST_KEYS * 2 {
            buckets.take_at(key, now).expect("a full bucket");
        }
        assert!(buckets.lock().len() <= MOST_KEYS);
        buckets.take_at(usize::MAX, now).expect_err("still empty");
    }
}
