use std::{collections::HashMap, hash::Hash, mem};

/// A map of bounded size that forgets what was not used for longest, roughly: what is used moves
/// into the newer half, which becomes the older one when it is full.
pub(crate) struct Recent<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self {
            newer: HashMap::new(),
            older: HashMap::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Recent<K, V> {
    /// What is kept under `key`, which is now used; `most` bounds how many are kept.
    pub(crate) fn get(&mut self, key: &K, most: usize) -> Option<V> {
        if let Some(known) = self.newer.get(key) {
            return Some(known.clone());
        }
        let known = self.older.remove(key)?;
        self.insert(key.clone(), known.clone(), most);
        Some(known)
    }

    /// Keeps `value`.
    pub(crate) fn insert(&mut self, key: K, value: V, most: usize) {
        if self.newer.len() >= most.div_ceil(2) {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(key, value);
    }

    /// Forgets what is kept under `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        self.newer.remove(key);
        self.older.remove(key);
    }

    /// Forgets all that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.newer.retain(|_, value| keep(value));
        self.older.retain(|_, value| keep(value));
    }

    /// How many are kept, at most: what is in both halves counts twice.
    pub(crate) fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }
}
