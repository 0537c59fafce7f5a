//! What the limits of one call cost: everything that can be counted for it, over 10,000 principals
//! of 100 tenants; in this process alone, and shared with others. What is asked of those is answered
//! at once, and its cost is not in the figure of the calls.
//!
//! ```sh
//! cargo run --release -p mcp-ultra-domain --example limits_cost
//! ```

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_ultra_domain::{
    Clock, SystemClock,
    limits::{
        Key, Place, Rate,
        lease::{Answer, Fleet},
    },
    ports::{LeasedLimitStore, LimitStore, LimitsKey, MemoryLimitStore},
};

const CALLS: usize = 1_000_000;

fn main() {
    let Some(much) = NonZeroU32::new(1_000_000) else {
        return;
    };
    let rate = Rate::new(much, Duration::from_secs(1), much);
    let callers: Vec<(String, String, u32)> = (0..10_000_u32)
        .map(|number| {
            let tenant = format!("tenant-{}", number % 100);
            let id = format!(
                "user:{}:{tenant}:25:https://login.example.com:u{number}",
                tenant.len()
            );
            (tenant, id, number)
        })
        .collect();
    let alone: Arc<dyn LimitStore> = Arc::new(MemoryLimitStore::new(100_000));
    measure("in memory", &alone, &rate, &callers, || ());
    let leased = LeasedLimitStore::new(LimitsKey::new(b"a secret"), 100_000, || ());
    leased.set_fleet(Fleet {
        replicas: 3,
        apart: false,
    });
    let leased = Arc::new(leased);
    let shared: Arc<dyn LimitStore> = leased.clone();
    measure("leased", &shared, &rate, &callers, || answer(&leased));
}

/// Answers all questions as a Redis does that has everything.
fn answer(store: &LeasedLimitStore) {
    let now = SystemClock.now();
    while let asked = store.due(1000, now)
        && !asked.is_empty()
    {
        for (due, ask) in asked {
            let granted = ask.wanted;
            let answer = Answer {
                granted,
                standing: 0,
            };
            store.settle(due, &ask, answer, now);
        }
    }
}

fn measure(
    what: &str,
    store: &Arc<dyn LimitStore>,
    rate: &Rate,
    callers: &[(String, String, u32)],
    meanwhile: impl Fn(),
) {
    const CHUNK: usize = 1000;
    for round in 0..3 {
        let mut took = Duration::ZERO;
        let mut callers = callers.iter().cycle();
        for _ in 0..CALLS / CHUNK {
            let begun = Instant::now();
            for (tenant, id, number) in callers.by_ref().take(CHUNK) {
                black_box(call(store, rate, tenant, id, *number));
            }
            took += begun.elapsed();
            meanwhile();
        }
        let nanos = took.as_nanos() / CALLS as u128;
        println!("{what}, round {round}: {nanos} ns a call for 5 rates, 3 quotas and 3 places");
    }
}

fn call(store: &Arc<dyn LimitStore>, rate: &Rate, tenant: &str, id: &str, number: u32) -> usize {
    let address = Key::of_address(std::net::Ipv4Addr::from_bits(number).into());
    let server = Key::Server {
        tenant,
        server: "crm",
    };
    let tool = Key::Tool {
        tenant,
        server: "crm",
        tool: Some("find_customer"),
    };
    let (principal, tenant) = (Key::Principal(id), Key::Tenant(tenant));
    let enter = |key: &Key<'_>| {
        let place = store.enter(key, 1000)?;
        Some(Place::new(store.clone(), place))
    };
    // As the gateway does: a look at the clock in each of the three stages.
    let counted = store.rate(&address, rate, SystemClock.now()).is_ok();
    let places = [enter(&principal), enter(&tenant), enter(&server)];
    let now = SystemClock.now();
    let rates = [principal, tenant].map(|key| store.rate(&key, rate, now).is_ok());
    let now = SystemClock.now();
    let more = [tool, server].map(|key| store.rate(&key, rate, now).is_ok());
    let quotas = [tool, principal, tenant].map(|key| store.quota(&key, u32::MAX, now).is_ok());
    let all = [counted].into_iter().chain(rates).chain(more).chain(quotas);
    all.filter(|counted| *counted).count() + places.iter().flatten().count()
}
