//! How many calls may be made again, so that retries do not bring down what is about to recover.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one retry takes, and the share of a call that one percent of the budget is.
const RETRY: u64 = 100;
/// How many retries there are at first, and are saved at most.
const RESERVE: u64 = 10;

/// Retries that calls have earned: each call a share of one. Without a lock.
#[derive(Debug)]
pub struct Budget {
    percent: u64,
    balance: AtomicU64,
    made: AtomicU64,
    refused: AtomicU64,
}

impl Budget {
    /// A budget of so many retries for a hundred calls, and a few at first.
    pub fn new(percent: u64) -> Self {
        Self {
            percent,
            balance: AtomicU64::new(RESERVE * RETRY),
            made: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A call is made for the first time.
    pub fn earn(&self) {
        let most = RESERVE * RETRY;
        // A budget that is full is not written to.
        if self.balance.load(Ordering::Relaxed) < most {
            let more = |balance: u64| Some(balance.saturating_add(self.percent).min(most));
            let _ = self
                .balance
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    /// Whether one may be made again; it is taken from the budget.
    pub fn spend(&self) -> bool {
        let less = |balance: u64| balance.checked_sub(RETRY);
        let spent = self
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let count = if spent.is_ok() {
            &self.made
        } else {
            &self.refused
        };
        count.fetch_add(1, Ordering::Relaxed);
        spent.is_ok()
    }

    /// How many were made again so far.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// How many were not, for want of budget.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget) -> usize {
        (0..1000).take_while(|_| budget.spend()).count()
    }

    #[test]
    fn calls_earn_a_share_of_a_retry_each() {
        let budget = Budget::new(20);
        assert_eq!(spent(&budget), 10, "at first");
        for _ in 0..24 {
            budget.earn();
        }
        assert_eq!(spent(&budget), 4, "a fifth of the calls");
        for _ in 0..10_000 {
            budget.earn();
        }
        assert_eq!(spent(&budget), 10, "no more are saved");
        assert_eq!((budget.made(), budget.refused()), (24, 3));
    }
}
