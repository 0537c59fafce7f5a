//! `subscriptions/listen`: a stream of changes for a modern client (2026-07-28, Subscriptions).

use std::collections::HashSet;

use mcp_ultra_protocol::{Notification, WireError, meta};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{call::Call, events::Change, resources};

/// How many resources one stream may follow.
const MAX_RESOURCES: usize = 1000;

#[derive(Deserialize)]
struct Params {
    notifications: Filter,
}

/// What the client wants to hear of. Tools and prompts never change here: wishes for them are
/// not granted, and the acknowledgement says so by leaving them out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    resources_list_changed: bool,
    #[serde(default)]
    resource_subscriptions: Vec<String>,
}

/// What was granted.
#[derive(Debug)]
struct Granted {
    list: bool,
    resources: HashSet<String>,
}

impl Granted {
    fn wants(&self, change: &Change) -> bool {
        match change {
            Change::Resource(uri) => self.resources.contains(uri),
            Change::ResourceList => self.list,
        }
    }

    fn all(&self) -> Vec<Change> {
        let list = self.list.then_some(Change::ResourceList);
        self.resources
            .iter()
            .cloned()
            .map(Change::Resource)
            .chain(list)
            .collect()
    }
}

/// Acknowledges, then tells of changes until the server stops. The transport drops this future
/// when the client cancels.
///
/// # Errors
/// Where the filter can't be read or is too long.
pub(super) async fn listen(call: &Call) -> Result<String, WireError> {
    let Params { notifications } = call.params()?;
    if notifications.resource_subscriptions.len() > MAX_RESOURCES {
        return Err(WireError::invalid_params(format!(
            "a stream may follow {MAX_RESOURCES} resources, open a second one for the others"
        )));
    }
    let known: Vec<String> = notifications
        .resource_subscriptions
        .into_iter()
        .filter(|uri| resources::exists(&call.server.store, uri))
        .collect();
    let mut granted = json!({});
    if notifications.resources_list_changed {
        granted["resourcesListChanged"] = true.into();
    }
    if !known.is_empty() {
        granted["resourceSubscriptions"] = json!(known);
    }
    // The id goes back as it was spelled: a big integer would not survive a `Value`.
    let own_meta = format!(
        "{{\"{}\":{}}}",
        meta::SUBSCRIPTION_ID,
        call.request.id.as_raw()
    );
    // Listens before it says so: a change right after the acknowledgement is not missed.
    let changes = call.server.events.hear();
    let acknowledged = format!("{{\"_meta\":{own_meta},\"notifications\":{granted}}}");
    let method = "notifications/subscriptions/acknowledged";
    call.send(Notification::new(method, Some(&acknowledged)).text)
        .await;
    let filter = Granted {
        list: notifications.resources_list_changed,
        resources: known.into_iter().collect(),
    };
    tokio::select! {
        () = tell(call, changes, &filter, &own_meta) => {}
        () = call.server.stopping.cancelled() => {}
    }
    Ok(format!(
        "{{\"resultType\":\"complete\",\"_meta\":{own_meta}}}"
    ))
}

async fn tell(call: &Call, mut changes: Receiver<Change>, filter: &Granted, own_meta: &str) {
    loop {
        let missed = match changes.recv().await {
            Ok(change) if filter.wants(&change) => vec![change],
            Ok(_) => continue,
            // Too far behind to know what was missed: anything may have changed.
            Err(RecvError::Lagged(_)) => filter.all(),
            Err(RecvError::Closed) => return,
        };
        for change in missed {
            call.send(change.notification(Some(own_meta))).await;
        }
    }
}
