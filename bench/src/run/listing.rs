//! Listing all tools through a route, and what it costs.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::{Effort, children::Gateway, progress, standing::Measured};
use crate::{
    error::{Error, Result},
    message::{self, Address},
    process::Watched,
    verify::message_of,
    wire::Connection,
};

/// Tools of every upstream that are always there.
pub(super) const ECHOES: usize = 6;
/// Tools of the large catalog.
pub(super) const MANY_TOOLS: usize = 10_000;

/// CPU milliseconds of a full listing, and what it consisted of.
pub(super) async fn listing(to: &Address, process: &Watched, effort: &Effort) -> Measured {
    progress("listing 10,000 tools");
    let mut listed = Listed::default();
    for _ in 0..3 {
        listed = list_all(to).await?;
    }
    let before = process.cpu_seconds()?;
    for _ in 0..effort.listings {
        listed = list_all(to).await?;
        if listed.tools != MANY_TOOLS + ECHOES {
            return Err(Error::Unusable(format!(
                "a listing of {} tools",
                listed.tools
            )));
        }
    }
    let cpu = process.cpu_seconds()? - before;
    let detail = format!(
        "{} listings of {} pages, {:.1} MB each",
        effort.listings,
        listed.pages,
        listed.bytes as f64 / 1e6
    );
    Ok((cpu * 1e3 / effort.listings as f64, detail))
}

/// What a listing of all pages brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// How many tools.
    pub(super) tools: usize,
    /// On how many pages.
    pub(super) pages: usize,
    /// In how many bytes.
    pub(super) bytes: usize,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    result: Tools<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    next_cursor: Option<String>,
}

/// All pages of the list.
pub(super) async fn list_all(to: &Address) -> Result<Listed> {
    let port = to.port;
    let failed = |what: String| Error::Unusable(format!("listing tools on port {port}: {what}"));
    let mut connection = Connection::open(port)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut listed = Listed::default();
    let mut cursor: Option<String> = None;
    loop {
        let mut request = message::list(to, cursor.as_deref());
        let exchange = connection.exchange(request.numbered(listed.pages as u64).0);
        let response = tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .map_err(|_| failed("no page within 10 s".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let body = message_of(&response).unwrap_or_default();
        let page: Page<'_> = serde_json::from_slice(body).map_err(|error| {
            let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            failed(format!("status {}, {error}: {start}", response.status))
        })?;
        listed.tools += page.result.tools.len();
        listed.pages += 1;
        listed.bytes += body.len();
        cursor = page.result.next_cursor;
        if cursor.is_none() {
            return Ok(listed);
        }
        if listed.pages > MANY_TOOLS {
            return Err(failed("a listing without an end".to_owned()));
        }
    }
}

/// Waits until the gateway lists this many tools: its upstreams are found then.
pub(super) async fn wait_for_tools(
    gateway: &mut Gateway,
    token: Option<&str>,
    wanted: usize,
) -> Result<()> {
    let mut to = Address::on(gateway.port());
    to.token = token.map(str::to_owned);
    let limit = Instant::now() + Duration::from_mins(1);
    loop {
        let listed = list_all(&to).await;
        match &listed {
            Ok(listed) if listed.tools >= wanted => return Ok(()),
            _ if Instant::now() < limit => {}
            Ok(listed) => {
                return Err(Error::Unusable(format!(
                    "the gateway lists {} of {wanted} tools after 60 s",
                    listed.tools
                )));
            }
            Err(error) => {
                return Err(Error::Unusable(format!("no tools after 60 s: {error}")));
            }
        }
        gateway.still_there()?;
        sleep(Duration::from_millis(50)).await;
    }
}
