//! The certificates of a server, in files of its folder.

use std::{path::PathBuf, time::Duration};

use super::{StoreError, folder::Folder};
use crate::tls::{Authority, Pair};

/// When certificates end, since 1970: no test sees it.
const ENDS: Duration = Duration::from_hours(24 * 365 * 200);

/// An authority and what it has signed, for one server or for all nodes of a cluster.
#[derive(Clone)]
pub(super) struct Certificates {
    authority: String,
    server: Pair,
    client: Pair,
}

/// Where the files of one server are.
#[derive(Clone, Debug)]
pub(super) struct CertificateFiles {
    /// The certificate of the authority.
    pub(super) authority: PathBuf,
    /// For `localhost` and 127.0.0.1.
    pub(super) server: PathBuf,
    pub(super) server_key: PathBuf,
    /// For a client.
    pub(super) client: PathBuf,
    pub(super) client_key: PathBuf,
}

impl Certificates {
    pub(super) fn new() -> Result<Self, StoreError> {
        let issuer = Authority::new("stores of a test")?;
        Ok(Self {
            authority: issuer.pem(),
            server: issuer.server(ENDS)?,
            client: issuer.client("client.test", ENDS)?,
        })
    }

    /// Writes them where a server and its clients read them.
    pub(super) fn write(&self, folder: &Folder) -> Result<CertificateFiles, StoreError> {
        Ok(CertificateFiles {
            authority: folder.write("authority.pem", &self.authority)?,
            server: folder.write("server.pem", &self.server.certificate)?,
            server_key: folder.write("server.key", &self.server.key)?,
            client: folder.write("client.pem", &self.client.certificate)?,
            client_key: folder.write("client.key", &self.client.key)?,
        })
    }
}
