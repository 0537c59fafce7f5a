//! How a client reaches a Redis, and as whom.

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::PathBuf,
};

use url::Url;

use crate::stores::{StoreError, tool};

/// What a client needs to log in. All connections are by TLS.
#[derive(Clone, Debug)]
pub struct Login {
    /// The server, or what stands in front of it.
    pub address: SocketAddr,
    /// The user of the access list.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The file of the authority that has signed the server's certificate, as PEM.
    pub authority: PathBuf,
    /// The files of a client's certificate and its key, for a server that asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub(super) cli: PathBuf,
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

    /// As a URL. What is trusted has no place in it.
    pub fn url(&self) -> String {
        let text = format!("rediss://{}", self.address);
        let Ok(mut url) = Url::parse(&text) else {
            return text;
        };
        // Both can fail only for URLs without a host.
        let _ = url.set_username(&self.user);
        let _ = url.set_password(Some(&self.password));
        url.into()
    }

    /// What `redis-cli` answers to a command; its errors are answers too, as `ERR …` or `NOPERM …`.
    pub async fn ask<A: AsRef<OsStr>>(&self, command: &[A]) -> Result<String, StoreError> {
        let mut arguments: Vec<OsString> = vec![
            "--tls".into(),
            "--cacert".into(),
            self.authority.clone().into(),
        ];
        if let Some((certificate, key)) = &self.certificate {
            arguments.extend(["--cert".into(), certificate.into()]);
            arguments.extend(["--key".into(), key.into()]);
        }
        arguments.extend(["-h".into(), self.address.ip().to_string().into()]);
        arguments.extend(["-p".into(), self.address.port().to_string().into()]);
        arguments.extend(["--user".into(), self.user.clone().into()]);
        arguments.extend(["--no-auth-warning".into(), "--raw".into()]);
        arguments.extend(command.iter().map(|word| word.as_ref().to_owned()));
        let environment: [(&str, &OsStr); 1] = [("REDISCLI_AUTH", self.password.as_ref())];
        let answer = tool::answer(&self.cli, arguments, &environment).await?;
        Ok(answer.trim_end().to_owned())
    }

    /// The same, where everything but this answer is an error.
    pub async fn expect<A: AsRef<OsStr>>(
        &self,
        command: &[A],
        expected: &str,
    ) -> Result<(), StoreError> {
        let answer = self.ask(command).await?;
        if answer == expected {
            return Ok(());
        }
        Err(StoreError::Tool {
            program: self.cli.display().to_string(),
            output: answer,
        })
    }
}
