//! How a client reaches a NATS, and as whom; and the first words of its protocol, by which a server is
//! known to serve.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::NKey;
use crate::{stores::StoreError, tls::Trust};

/// How long a server may take for one line.
const LIMIT: Duration = Duration::from_secs(5);

/// What a client needs to log in. All connections are by TLS.
#[derive(Clone, Debug)]
pub struct Login {
    /// The server, or what stands in front of it.
    pub address: SocketAddr,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The file of the authority that has signed the server's certificate, as PEM.
    pub authority: PathBuf,
    /// The files of a client's certificate and its key, for a server that asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Login {
    /// The same for another user.
    pub fn user(&self, user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            ..self.clone()
        }
    }

    /// The same at another address: another node, or something in front of this one.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// As a URL, without user, password and what is trusted.
    pub fn url(&self) -> String {
        format!("tls://{}", self.address)
    }

    /// Logs in on a connection of its own.
    pub async fn connect(&self) -> Result<Connection, StoreError> {
        let connection = self.greeted().await?;
        let who = json!({ "user": self.user, "pass": self.password });
        connection.log_in(who).await
    }

    /// Logs in by a key, without user and password.
    pub async fn connect_by(&self, key: &NKey) -> Result<Connection, StoreError> {
        let connection = self.greeted().await?;
        let nonce = connection.info["nonce"].as_str().unwrap_or_default();
        let who = json!({ "nkey": key.public(), "sig": key.sign(nonce) });
        connection.log_in(who).await
    }

    /// A connection that speaks TLS and is not logged in.
    async fn greeted(&self) -> Result<Connection, StoreError> {
        let failed = |error: String| failed(self.address, &error);
        let connected = timeout(LIMIT, TcpStream::connect(self.address)).await;
        let mut stream = connected
            .map_err(|_| failed("no connection in time".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        // The server speaks first, and in the clear: INFO says that it asks for TLS.
        let info = line(&mut BufReader::with_capacity(1, &mut stream)).await;
        let info = info.map_err(&failed)?;
        let info = info
            .strip_prefix("INFO ")
            .and_then(|info| serde_json::from_str::<Value>(info).ok())
            .ok_or_else(|| failed(format!("no INFO: {info}")))?;
        if info["tls_required"] != true {
            return Err(failed(format!("it does not ask for TLS: {info}")));
        }
        let stream = self.encrypted(stream).await.map_err(&failed)?;
        Ok(Connection {
            address: self.address,
            info,
            stream: BufReader::new(stream),
        })
    }

    async fn encrypted(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let read = |file| std::fs::read_to_string(file).map_err(|error| error.to_string());
        let authority = read(&self.authority)?;
        let own = match &self.certificate {
            Some((certificate, key)) => Some([read(certificate)?, read(key)?]),
            None => None,
        };
        let own = own.as_ref().map(|own| own.each_ref().map(String::as_str));
        let trust = Trust::new(&authority, own, true, false).map_err(|error| error.to_string())?;
        let name = ServerName::from(self.address.ip());
        let connector = TlsConnector::from(trust.config());
        let stream = timeout(LIMIT, connector.connect(name, stream)).await;
        stream
            .map_err(|_| "no TLS in time".to_owned())?
            .map_err(|error| error.to_string())
    }
}

/// A connection that is logged in.
pub struct Connection {
    address: SocketAddr,
    /// What the server has said of itself.
    pub info: Value,
    stream: BufReader<TlsStream<TcpStream>>,
}

impl Connection {
    async fn log_in(mut self, who: Value) -> Result<Self, StoreError> {
        let mut options = json!({
            "verbose": false, "pedantic": false, "tls_required": true, "lang": "rust",
            "version": "0", "protocol": 1, "headers": true, "no_responders": true,
        });
        if let (Value::Object(options), Value::Object(who)) = (&mut options, who) {
            options.extend(who);
        }
        self.send(&format!("CONNECT {options}\r\nPING\r\n")).await?;
        self.expect("PONG").await?;
        Ok(self)
    }

    /// Writes what it is told, and flushes.
    pub async fn send(&mut self, text: &str) -> Result<(), StoreError> {
        let sent = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        };
        sent.await
            .map_err(|error: std::io::Error| failed(self.address, &error.to_string()))
    }

    /// The next line that is no INFO and no PING.
    pub async fn line(&mut self) -> Result<String, StoreError> {
        loop {
            let line = line(&mut self.stream).await;
            let line = line.map_err(|error| failed(self.address, &error))?;
            if line == "PING" {
                self.send("PONG\r\n").await?;
            } else if !line.starts_with("INFO ") {
                return Ok(line);
            }
        }
    }

    /// The same, where everything but this line is an error.
    pub async fn expect(&mut self, expected: &str) -> Result<(), StoreError> {
        let line = self.line().await?;
        if line == expected {
            return Ok(());
        }
        Err(failed(self.address, &line))
    }

    /// Asks on a subject, for example of the JetStream API; the JSON of the answer.
    pub async fn request(&mut self, subject: &str, body: &str) -> Result<Value, StoreError> {
        let length = body.len();
        self.send(&format!(
            "SUB _INBOX.test 1\r\nPUB {subject} _INBOX.test {length}\r\n{body}\r\n"
        ))
        .await?;
        let head = self.line().await?;
        if !head.starts_with("MSG ") {
            return Err(failed(self.address, &head));
        }
        let answer = self.line().await?;
        self.send("UNSUB 1\r\n").await?;
        serde_json::from_str(&answer).map_err(|error| failed(self.address, &error.to_string()))
    }
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<String, String> {
    let mut line = String::new();
    match timeout(LIMIT, stream.read_line(&mut line)).await {
        Err(_) => Err("no line in time".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(0)) => Err("the connection is closed".to_owned()),
        Ok(Ok(_)) => Ok(line.trim_end().to_owned()),
    }
}

fn failed(address: SocketAddr, error: &str) -> StoreError {
    StoreError::Tool {
        program: format!("NATS at {address}"),
        output: error.to_owned(),
    }
}
