//! What is broken: three replicas behind a balancer, their stores, two upstreams, and the networks
//! between them.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use mcp_ultra_testkit::{
    fixture::{Era, Separate},
    fleet::{Fleet, Plan},
    gateway::Gateway,
    stores::{Fault as Network, Nats, PASSWORD, Postgres, Redis, nats, postgres, redis},
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{Fault, Part};
use crate::{cli::run, gateway_rig::fixture_binary};

pub(super) const REPLICAS: usize = 3;
/// How much later everything arrives on a network that is slow, in each direction.
const DELAY: Duration = Duration::from_millis(200);
/// What everybody may call but this.
const POLICIES: &str = "permit(principal, action, resource);\nforbid(principal, action, resource == Tool::\"near_test_echo\");\n";

/// The upstream that is never broken, and speaks both eras.
pub(super) const NEAR: &str = "near";
/// The upstream that is, which speaks the legacy one alone, so that it has sessions and asks while a call is
/// open.
pub(super) const FAR: &str = "far";

/// What lies between some of the replicas and everything that they use.
struct Networks {
    postgres: Network,
    redis: Network,
    nats: Network,
    near: Network,
    far: Network,
}

impl Networks {
    fn all(&self) -> [&Network; 5] {
        [
            &self.postgres,
            &self.redis,
            &self.nats,
            &self.near,
            &self.far,
        ]
    }
}

pub(super) struct Site {
    pub fleet: Fleet,
    postgres: Postgres,
    redis: Redis,
    nats: Nats,
    near: Separate,
    far: Separate,
    /// Those of the replica that is broken, and those of the others.
    networks: [Networks; 2],
    /// The keys of those who call.
    pub keys: Vec<String>,
    /// One that was withdrawn before it all began.
    pub revoked: String,
    _folder: TempDir,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with("{ drain_delay: 500ms }").await
    }

    /// The same with another value of `server.shutdown`.
    pub(super) async fn start_with(shutdown: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (postgres, redis, nats) =
            tokio::join!(Postgres::start(), Redis::start(), Nats::start());
        let (postgres, redis, nats) = (postgres.unwrap(), redis.unwrap(), nats.unwrap());
        let (near, far) = tokio::join!(
            Separate::start(fixture_binary(), Era::Dual),
            Separate::start(fixture_binary(), Era::Legacy)
        );
        let (near, far) = (near.unwrap(), far.unwrap());
        let database = database(&postgres, folder.path()).await;
        let networks = || Networks {
            postgres: Network::before(postgres.server().address()).unwrap(),
            redis: Network::before(redis.server().address()).unwrap(),
            nats: Network::before(nats.server().address()).unwrap(),
            near: Network::before(near.server().address()).unwrap(),
            far: Network::before(far.server().address()).unwrap(),
        };
        let networks = [networks(), networks()];
        let policies = folder.path().join("policies.cedar");
        fs::write(&policies, POLICIES).unwrap();
        let configurations = networks.each_ref().map(|through| {
            configuration(
                through,
                &database,
                redis.login(),
                nats.login(),
                &policies,
                shutdown,
            )
        });
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, &configurations[1]).unwrap();
        let mut keys = Vec::new();
        for name in ["ana", "bea", "cy"] {
            keys.push(key(&file, &["create", name]).await);
        }
        let revoked = key(&file, &["create", "dee"]).await;
        key(&file, &["revoke", "dee"]).await;
        let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
        let plan = Plan::new(binary, move |number| configurations[number.min(1)].clone());
        let fleet = Fleet::of(plan.with_networks(), REPLICAS).await.unwrap();
        Self {
            fleet,
            postgres,
            redis,
            nats,
            near,
            far,
            networks,
            keys,
            revoked,
            _folder: folder,
        }
    }

    /// Breaks a part; of the replicas the first.
    pub(super) async fn harm(&mut self, part: Part, fault: Fault) {
        match (part, fault) {
            (_, Fault::Slowed) => self
                .networks_of(part)
                .for_each(|network| network.slow(DELAY)),
            (_, Fault::CutOff) => self.networks_of(part).for_each(Network::lost),
            (Part::Replica, Fault::Killed) => self.signal(Signal::SIGKILL),
            (Part::Replica, Fault::Paused) => self.signal(Signal::SIGSTOP),
            (_, Fault::Killed) => self.server_of(part).kill().await.unwrap(),
            (_, Fault::Paused) => self.server_of(part).pause().unwrap(),
        }
    }

    /// Brings it back.
    pub(super) async fn mend(&mut self, part: Part, fault: Fault) {
        match (part, fault) {
            (_, Fault::Slowed | Fault::CutOff) => self.networks_of(part).for_each(Network::heal),
            (Part::Replica, Fault::Killed) => {
                drop(self.fleet.remove(0));
                self.fleet.grow().await.unwrap();
            }
            (Part::Replica, Fault::Paused) => self.signal(Signal::SIGCONT),
            (_, Fault::Killed) => self.server_of(part).restart().await.unwrap(),
            (_, Fault::Paused) => self.server_of(part).resume().unwrap(),
        }
    }

    fn signal(&mut self, signal: Signal) {
        self.fleet.replicas_mut()[0].signal(signal).unwrap();
    }

    fn server_of(&mut self, part: Part) -> &mut mcp_ultra_testkit::stores::Server {
        match part {
            Part::Postgres => self.postgres.server_mut(),
            Part::Redis => self.redis.server_mut(),
            Part::Nats => self.nats.server_mut(),
            Part::Upstream => self.far.server_mut(),
            Part::Replica => unreachable!("a replica is no server of the testkit"),
        }
    }

    /// A replica is cut off from its callers and from all that it uses.
    fn networks_of(&self, part: Part) -> impl Iterator<Item = &Network> {
        let [first, others] = &self.networks;
        let both = |of: fn(&Networks) -> &Network| vec![of(first), of(others)];
        let networks = match part {
            Part::Postgres => both(|all| &all.postgres),
            Part::Redis => both(|all| &all.redis),
            Part::Nats => both(|all| &all.nats),
            Part::Upstream => both(|all| &all.far),
            Part::Replica => self
                .fleet
                .network(0)
                .into_iter()
                .chain(first.all())
                .collect(),
        };
        networks.into_iter()
    }

    /// How often each nonce was executed.
    pub(super) fn executed(&self) -> HashMap<String, usize> {
        let mut executed = self.near.executed().unwrap();
        executed.extend(self.far.executed().unwrap());
        executed
    }

    /// What is left of calls where there are none any more, in words.
    pub(super) async fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (number, replica) in self.fleet.replicas().iter().enumerate() {
            left.extend(of_replica(number, replica, self.keys.len()).await);
        }
        let sql = "select count(*) from pg_stat_activity where state like 'idle in transaction%' and state_change < now() - interval '5 seconds'";
        let open = self.postgres.admin().sql(sql).await;
        let locks = "select count(*) from pg_locks where locktype = 'advisory'";
        let locks = self.postgres.admin().sql(locks).await;
        for (what, count) in [("open transactions", open), ("advisory locks", locks)] {
            let count = count.unwrap();
            if count != "0" {
                left.push(format!("{count} {what}"));
            }
        }
        left.extend(lasting(&self.redis).await);
        left
    }
}

/// The keys that a Redis would keep for ever, but for streams, which are bounded by their length.
async fn lasting(redis: &Redis) -> Vec<String> {
    let script = "local names = {} for _, key in ipairs(redis.call('KEYS', '*')) do if redis.call('TTL', key) == -1 and redis.call('TYPE', key).ok ~= 'stream' then table.insert(names, key) end end return names";
    let names = redis.login().ask(&["EVAL", script, "0"]).await.unwrap();
    let names = names.lines().filter(|name| !name.is_empty());
    names
        .map(|name| format!("{name} in Redis for ever"))
        .collect()
}

async fn of_replica(number: usize, replica: &Gateway, principals: usize) -> Vec<String> {
    let metrics = replica.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let value = |name: &str| -> usize {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().unwrap()
    };
    // The catalog's, and one of each principal who has called in the modern era, until it is idle.
    let sessions = principals + 1;
    let mut left = Vec::new();
    for (name, most) in [
        ("mcp_parked_calls", 0),
        ("mcp_sessions", 0),
        ("mcp_streams", 0),
        ("mcp_upstream_sessions{upstream=\"near\"}", 1),
        ("mcp_upstream_sessions{upstream=\"far\"}", sessions),
    ] {
        let value = value(name);
        if value > most {
            left.push(format!("{name} is {value} at replica {number}"));
        }
    }
    for upstream in [NEAR, FAR] {
        let breaker = format!("mcp_upstream_breaker{{upstream=\"{upstream}\",state=\"closed\"}}");
        if value(&breaker) != 1 {
            left.push(format!("the breaker of {upstream} at replica {number}"));
        }
    }
    left
}

/// A database with the tables of the gateway; its section of the configuration, but for the port.
async fn database(postgres: &Postgres, folder: &Path) -> postgres::Login {
    let admin = postgres.database().await.unwrap();
    let database = &admin.database;
    let roles = format!(
        "create role owner_of_{database} login password '{PASSWORD}'; \
         alter database {database} owner to owner_of_{database}"
    );
    admin.sql(&roles).await.unwrap();
    let section = storage(&admin, admin.address.port());
    let owner = folder.join("owner.yaml");
    let migrate = format!("    migrate: {{ user: owner_of_{database}, password: {PASSWORD} }}\n");
    fs::write(&owner, format!("storage:\n{section}{migrate}")).unwrap();
    let migrated = run(&["migrate", "--config", &owner.to_string_lossy()]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    admin
}

fn storage(database: &postgres::Login, port: u16) -> String {
    format!(
        "  postgres:\n    host: 127.0.0.1\n    port: {port}\n    database: {}\n    user: guest\n    password: {PASSWORD}\n    tls: {{ ca_file: \"{}\" }}\n",
        database.database,
        database.authority.display()
    )
}

fn configuration(
    networks: &Networks,
    database: &postgres::Login,
    redis: &redis::Login,
    nats: &nats::Login,
    policies: &Path,
    shutdown: &str,
) -> String {
    let postgres = storage(database, networks.postgres.address().port());
    format!(
        "session: {{ keys: [{{ id: k, secret: \"a sealing secret of thirty-two bytes\" }}] }}\n\
         server: {{ shutdown: {shutdown} }}\n\
         auth:\n  resource: https://mcp.example.com/mcp\n  api_keys: {{ enabled: true, recheck: 2s, max_age: 1h }}\n\
         policy: {{ files: [\"{policies}\"] }}\n\
         limits: {{ call_timeout: 5s }}\n\
         storage:\n{postgres}  redis:\n    server: {{ host: 127.0.0.1, port: {redis_port} }}\n    user: {redis_user}\n    password: {PASSWORD}\n    tls: {{ ca_file: \"{redis_authority}\" }}\n\
         messaging:\n  nats:\n    servers: ['{nats_address}']\n    user: {nats_user}\n    password: {PASSWORD}\n    tls: {{ ca_file: \"{nats_authority}\" }}\n\
         servers:\n  - {{ name: {NEAR}, url: \"http://{near}/mcp\" }}\n  - {{ name: {FAR}, url: \"http://{far}/mcp\" }}\n",
        policies = policies.display(),
        redis_port = networks.redis.address().port(),
        redis_user = redis.user,
        redis_authority = redis.authority.display(),
        nats_address = networks.nats.address(),
        nats_user = nats.user,
        nats_authority = nats.authority.display(),
        near = networks.near.address(),
        far = networks.far.address(),
    )
}

async fn key(file: &Path, arguments: &[&str]) -> String {
    let file = file.to_string_lossy();
    let made = run(&[&["key"], arguments, &["--config", &file]].concat()).await;
    assert_eq!(made.code, 0, "{}", made.err);
    made.out.trim_end().to_owned()
}
