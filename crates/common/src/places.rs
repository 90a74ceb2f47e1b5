//! How many of something each key may have at the same time.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many places for each key, 0 being any number. Cheap to clone; remembers only those who have one.
#[derive(Clone, Debug)]
pub struct Places<K> {
    most: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// One place. Dropped, it is free.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Clone + Eq + Hash> Places<K> {
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// How many each key may have.
    pub fn most(&self) -> usize {
        self.most
    }

    /// A place, if there is one.
    pub fn take(&self, key: K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let count = taken.get(&key).copied().unwrap_or_default();
        if self.most > 0 && count >= self.most {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        Some(Place { taken: self.taken.clone(), key })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

fn lock<K>(taken: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Places, lock};

    #[test]
    fn each_key_has_places_of_its_own() {
        let places = Places::new(2);
        let (one, two) = (places.take("a"), places.take("a"));
        assert!(one.is_some() && two.is_some() && places.take("a").is_none());
        assert!(places.take("b").is_some());
        drop(one);
        assert!(places.take("a").is_some());
        drop(two);
        assert!(lock(&places.taken).is_empty(), "who has none is forgotten");
    }

    #[test]
    fn nought_is_any_number() {
        let places = Places::new(0);
        assert_eq!((0..1_000).map_while(|_| places.take(())).collect::<Vec<_>>().len(), 1_000);
    }
}
