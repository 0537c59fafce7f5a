//! What changes in sessions, for all replicas.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_domain::ports::{
    LiveSessions, MemorySessionStore, SESSION_VALID_FOR, SessionState, SessionStore, StoreError,
};
use parking_lot::Mutex;
use redis::Pipeline;

use super::{Redis, link::Away, news::News};

/// The fields of a session's hash. An ended session stays ended whatever else is written to it.
const ENDED: &str = "ended";
const LEVEL: &str = "level";
/// What the name of a field begins with that stands for a subscription.
const SUBSCRIBED: &str = "uri:";
/// How many sessions are remembered that changed while Redis was away.
const MOST_OWED: usize = 100_000;

/// A [`SessionStore`] that replicas share.
///
/// What this process changes is in memory too, and served from there while Redis is away: a session
/// that another replica has changed or ended is then gone on with as this one knows it. What changed
/// meanwhile is written once Redis is back.
#[derive(Debug)]
pub struct RedisSessionStore {
    redis: Redis,
    news: News,
    here: MemorySessionStore,
    /// The sessions that were changed here and not in Redis, each with what it is not subscribed to any
    /// more.
    owed: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl RedisSessionStore {
    /// The store of all gateways with the same Redis and prefix.
    pub fn new(redis: Redis) -> Self {
        Self {
            news: News::new(redis.clone()),
            redis,
            here: MemorySessionStore::default(),
            owed: Mutex::default(),
        }
    }

    fn key(&self, session: &str) -> String {
        format!("{}:session:{session}", self.redis.prefix)
    }

    /// Writes a change, and tells the others; or remembers to.
    async fn write(&self, session: &str, change: impl FnOnce(&mut Pipeline, &str)) {
        if self.try_write(session, change).await.is_err() {
            self.owe(session, BTreeSet::new());
        }
    }

    fn owe(&self, session: &str, ended: BTreeSet<String>) {
        let mut owed = self.owed.lock();
        if owed.len() < MOST_OWED || owed.contains_key(session) {
            owed.entry(session.to_owned()).or_default().extend(ended);
        }
    }

    async fn try_write(
        &self,
        session: &str,
        change: impl FnOnce(&mut Pipeline, &str),
    ) -> Result<(), Away> {
        let key = self.key(session);
        let mut commands = Pipeline::new();
        commands.atomic();
        change(&mut commands, &key);
        let lasts = u64::try_from(SESSION_VALID_FOR.as_millis()).unwrap_or(u64::MAX);
        commands.cmd("PEXPIRE").arg(&key).arg(lasts).ignore();
        self.redis.link.ask::<()>(&commands).await?;
        self.news.tell(session).await
    }

    /// Writes what was changed while Redis was away.
    async fn settle(&self) -> Result<(), StoreError> {
        let owed: Vec<String> = self.owed.lock().keys().cloned().collect();
        for session in owed {
            // First: what changes meanwhile is owed anew.
            let ended = self.owed.lock().remove(&session).unwrap_or_default();
            let state = self.here.load(&session).await?;
            let change = |commands: &mut Pipeline, key: &str| {
                let ended = ended.difference(&state.subscriptions);
                ended.for_each(|uri| subscribe(commands, key, uri, false));
                write_all(commands, key, &state);
            };
            if self.try_write(&session, change).await.is_err() {
                self.owe(&session, ended);
                break;
            }
        }
        Ok(())
    }
}

fn end(commands: &mut Pipeline, key: &str) {
    commands.cmd("DEL").arg(key).ignore();
    commands.cmd("HSET").arg(key).arg(ENDED).arg(1).ignore();
}

fn set_level(commands: &mut Pipeline, key: &str, level: &str) {
    let set = commands.cmd("HSET").arg(key);
    set.arg(LEVEL).arg(level).ignore();
}

fn subscribe(commands: &mut Pipeline, key: &str, uri: &str, wanted: bool) {
    let field = format!("{SUBSCRIBED}{uri}");
    if wanted {
        commands.cmd("HSET").arg(key).arg(field).arg(1).ignore();
    } else {
        commands.cmd("HDEL").arg(key).arg(field).ignore();
    }
}

fn write_all(commands: &mut Pipeline, key: &str, state: &SessionState) {
    if state.terminated {
        return end(commands, key);
    }
    if let Some(level) = &state.log_level {
        set_level(commands, key, level);
    }
    for uri in &state.subscriptions {
        subscribe(commands, key, uri, true);
    }
}

fn read_all(fields: HashMap<String, String>) -> SessionState {
    if fields.contains_key(ENDED) {
        return SessionState {
            terminated: true,
            ..SessionState::default()
        };
    }
    let mut state = SessionState::default();
    for (name, value) in fields {
        if name == LEVEL {
            state.log_level = Some(value);
        } else if let Some(uri) = name.strip_prefix(SUBSCRIBED) {
            state.subscriptions.insert(uri.to_owned());
        }
    }
    state
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn load(&self, session: &str) -> Result<SessionState, StoreError> {
        let here = self.here.load(session).await?;
        if here.terminated || self.owed.lock().contains_key(session) {
            return Ok(here);
        }
        let mut command = Pipeline::new();
        command.cmd("HGETALL").arg(self.key(session));
        match self.redis.link.ask(&command).await {
            Ok((fields,)) => Ok(read_all(fields)),
            Err(_away) => Ok(here),
        }
    }

    async fn set_log_level(&self, session: &str, level: &str) -> Result<(), StoreError> {
        self.here.set_log_level(session, level).await?;
        self.write(session, |commands, key| set_level(commands, key, level))
            .await;
        Ok(())
    }

    async fn subscribe(&self, session: &str, uri: &str, wanted: bool) -> Result<(), StoreError> {
        self.here.subscribe(session, uri, wanted).await?;
        let change = |commands: &mut Pipeline, key: &str| subscribe(commands, key, uri, wanted);
        if self.try_write(session, change).await.is_err() {
            let ended = (!wanted).then(|| uri.to_owned());
            self.owe(session, ended.into_iter().collect());
        }
        Ok(())
    }

    async fn terminate(&self, session: &str, now: Duration) -> Result<(), StoreError> {
        self.here.terminate(session, now).await?;
        self.write(session, end).await;
        Ok(())
    }

    async fn forget(&self, session: &str) -> Result<(), StoreError> {
        // In Redis it ends by itself: another replica may serve it.
        self.here.forget(session).await
    }

    async fn expire(&self, before: Duration) -> Result<usize, StoreError> {
        self.here.expire(before).await
    }

    async fn changed_elsewhere(&self, live: &LiveSessions<'_>) -> Result<Vec<String>, StoreError> {
        if !self.redis.is_reachable() {
            return Ok(Vec::new());
        }
        self.settle().await?;
        // Who can't be asked now is asked next time, about the time in between.
        Ok(self.news.read(live).await.unwrap_or_default())
    }

    fn is_reachable(&self) -> Option<bool> {
        Some(self.redis.is_reachable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_session_has_nothing_else() {
        let fields = [(LEVEL, "debug"), (ENDED, "1"), ("uri:file:///a", "1")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let state = read_all(fields.into());
        assert!(state.terminated && state.subscriptions.is_empty());
        assert_eq!(state.log_level, None);
    }
}
