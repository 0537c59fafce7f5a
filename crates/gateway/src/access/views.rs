use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mcp_ultra_domain::Principal;
use parking_lot::Mutex;

use super::{Rules, View};

/// How many views a snapshot keeps: one for each kind of principal that the rules tell apart.
/// Where there are more, those that were not used lately are made again.
const MOST: usize = 1_024;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The views of one snapshot.
pub(crate) struct Views {
    /// Tells the views of this snapshot from those of another one.
    id: u64,
    kept: Mutex<Generations>,
}

/// Those used lately, and those that were before: when the young are half of what may be kept, they
/// become the old.
#[derive(Default)]
struct Generations {
    young: HashMap<String, Arc<View>>,
    old: HashMap<String, Arc<View>>,
}

impl Default for Views {
    fn default() -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            kept: Mutex::default(),
        }
    }
}

impl Views {
    /// The view of a principal. A principal remembers its own, so that it is rarely looked for.
    pub(crate) fn of(&self, rules: &Rules, principal: &Principal) -> Arc<View> {
        let noted = principal.note::<View>();
        if let Some(view) = noted.filter(|view| view.snapshot == self.id) {
            return view;
        }
        let key = rules.key(principal);
        let mut kept = self.kept.lock();
        let found = match kept.young.get(&key) {
            Some(view) => Some(view.clone()),
            None => kept.old.remove(&key),
        };
        let view = found.unwrap_or_else(|| Arc::new(View::new(self.id, rules, principal)));
        if kept.young.len() >= MOST / 2 {
            kept.old = std::mem::take(&mut kept.young);
        }
        kept.young.insert(key, view.clone());
        drop(kept);
        principal.keep(&view);
        view
    }
}
