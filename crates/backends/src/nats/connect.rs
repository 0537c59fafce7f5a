//! How a connection is made: where to, as whom, and that it is encrypted to the right one.

use std::{io, path::PathBuf, time::Duration};

use async_nats::{Client, ConnectError, ConnectOptions, Event, ServerAddr};
use mcp_ultra_config::{NatsSettings, NatsTls, Secret};
use tokio::sync::watch;

use crate::tls_files::{self, Unreadable};

/// The port that servers have where none is named.
const PORT: u16 = 4222;
/// How long one server may take for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection on which nothing arrives for two or three of these is lost.
const PING: Duration = Duration::from_secs(3);
/// How long an answer of `JetStream` may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// NATS can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A file of `messaging.nats.tls`.
    #[error("messaging.nats.tls.{key}: {path} can't be read: {source}")]
    File {
        /// Its key in the section.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<Unreadable> for NatsError {
    fn from(Unreadable { key, path, source }: Unreadable) -> Self {
        Self::File { key, path, source }
    }
}

/// Whether all files can be read.
pub(super) fn check_files(tls: &NatsTls) -> Result<(), NatsError> {
    Ok(tls_files::check(
        tls.ca_file.as_ref(),
        tls.certificate.as_ref(),
        tls.key.as_ref(),
    )?)
}

/// A connection to one of the servers. The other half says when it is lost: the client is to be
/// dropped then, since it would come back by itself, with what it knew at first.
pub(super) async fn connect(
    settings: &NatsSettings,
) -> Result<(Client, watch::Receiver<bool>), ConnectError> {
    let (lost, is_lost) = watch::channel(false);
    let options = options(settings).event_callback(move |event| {
        if matches!(
            event,
            Event::Disconnected | Event::Closed | Event::LameDuckMode
        ) {
            lost.send_replace(true);
        }
        std::future::ready(())
    });
    let client = async_nats::connect_with_options(addresses(settings)?, options).await?;
    Ok((client, is_lost))
}

fn addresses(settings: &NatsSettings) -> io::Result<Vec<ServerAddr>> {
    let servers = settings.servers.iter();
    servers
        .map(|server| {
            let bare = server.rsplit_once(']').map_or(&**server, |(_, rest)| rest);
            let url = if bare.contains(':') {
                format!("tls://{server}")
            } else {
                format!("tls://{server}:{PORT}")
            };
            url.parse()
        })
        .collect()
}

fn options(settings: &NatsSettings) -> ConnectOptions {
    let options = ConnectOptions::new()
        .name("mcp-ultra")
        .require_tls(true)
        // What servers say of each other is not where the operator has said to go.
        .ignore_discovered_servers()
        .connection_timeout(PATIENCE)
        .request_timeout(Some(ANSWER))
        .ping_interval(PING)
        // Coming back is `link`'s: this is one attempt with each server.
        .max_reconnects(Some(settings.servers.len()))
        .reconnect_delay_callback(|_| Duration::ZERO);
    let exposed = |secret: &Option<Secret>| secret.as_ref().map(|one| one.expose().to_owned());
    let options = match (&settings.user, exposed(&settings.password)) {
        (Some(user), Some(password)) => options.user_and_password(user.clone(), password),
        _ => options,
    };
    let options = match exposed(&settings.nkey) {
        Some(seed) => options.nkey(seed),
        None => options,
    };
    let tls = &settings.tls;
    let options = match &tls.ca_file {
        Some(file) => options.add_root_certificates(file.into()),
        None => options,
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            options.add_client_certificate(certificate.into(), key.into())
        }
        _ => options,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_spoken_to_by_tls_on_their_port() {
        let settings = NatsSettings::new(["nats.example.com", "10.0.0.1:5", "[::1]", "[::1]:5"]);
        let addresses = addresses(&settings).unwrap();
        let shown: Vec<_> = addresses
            .iter()
            .map(|address| {
                assert!(address.tls_required());
                format!("{} {}", address.host(), address.port())
            })
            .collect();
        assert_eq!(
            shown,
            ["nats.example.com 4222", "10.0.0.1 5", "::1 4222", "::1 5"]
        );
    }
}
