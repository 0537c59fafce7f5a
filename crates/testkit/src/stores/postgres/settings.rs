//! How a server is configured, and what a test may change of that.

use std::net::SocketAddr;

use crate::stores::certificates::CertificateFiles;

/// What may differ from one server to another.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Lines of `postgresql.conf`, which win over those of the testkit.
    pub settings: Vec<String>,
    /// Whether what is committed is on the disk. Without, a commit costs microseconds instead of
    /// milliseconds and still survives SIGKILL of the server, because the system keeps what was
    /// written; only a lost machine loses it, and no test loses that.
    pub fsync: bool,
}

/// `pg_hba.conf`: who may connect, and how.
pub(super) const CLIENTS: &str = "\
hostnossl all all all reject
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl replication all 127.0.0.1/32 scram-sha-256
";

/// `postgresql.conf`.
pub(super) fn of(files: &CertificateFiles, options: &Options, address: SocketAddr) -> String {
    let fsync = if options.fsync { "on" } else { "off" };
    let more = options.settings.join("\n");
    format!(
        "listen_addresses = '{}'\n\
         port = {}\n\
         unix_socket_directories = ''\n\
         ssl = on\n\
         ssl_ca_file = '{}'\n\
         ssl_cert_file = '{}'\n\
         ssl_key_file = '{}'\n\
         ssl_min_protocol_version = 'TLSv1.2'\n\
         password_encryption = 'scram-sha-256'\n\
         max_connections = 100\n\
         shared_buffers = '32MB'\n\
         dynamic_shared_memory_type = mmap\n\
         fsync = {fsync}\n\
         full_page_writes = {fsync}\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         {more}\n",
        address.ip(),
        address.port(),
        files.authority.display(),
        files.server.display(),
        files.server_key.display(),
    )
}
