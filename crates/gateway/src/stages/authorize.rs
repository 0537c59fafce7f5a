//! May this principal make this call?

use std::sync::Arc;

use mcp_ultra_domain::{
    catalog::Kind,
    policy::{Action, Ask, Circumstances, Decision, Resource, Target},
};
use mcp_ultra_protocol::Method;

use super::route;
use crate::{
    Gateway,
    access::{View, Viewer},
    call::{Routed, Subject},
    metrics::Answer,
    pipeline::Refusal,
    snapshot::Snapshot,
};

/// What policy has agreed to. Only this stage makes one.
#[derive(Debug)]
pub(crate) struct Permitted<T> {
    permitted: T,
    grounds: Option<Grounds>,
}

/// Why a call is permitted: for whoever records or explains it.
#[derive(Debug, Clone)]
pub(crate) struct Grounds {
    /// The answer, with the policies that it is by.
    pub decision: Arc<Decision>,
    /// The set of policies that it is by.
    pub revision: Arc<str>,
}

impl<T> Permitted<T> {
    pub(crate) fn into_inner(self) -> T {
        self.permitted
    }

    pub(crate) fn get(&self) -> &T {
        &self.permitted
    }

    /// `None` where there is no policy.
    pub(crate) fn grounds(&self) -> Option<&Grounds> {
        self.grounds.as_ref()
    }
}

/// Without a policy every principal may call everything that no flag switches off, which is why the
/// gateway listens on loopback unless it is told otherwise. With one, what may not be called is
/// answered as what does not exist; so is what is switched off, and a tool that is not listed where
/// its server's pins are enforced.
pub(crate) fn call(
    gateway: &Gateway,
    snapshot: &Snapshot,
    routed: Box<Routed>,
) -> Result<Permitted<Box<Routed>>, Refusal> {
    // Whether it is one that is held back or one that its server does not have is nobody's to know.
    if matches!(routed.subject, Subject::Unlisted(_))
        && routed.call.method == Method::ToolsCall
        && gateway.holds_back(routed.upstream.name())
    {
        return Err(route::unknown(&routed.call).into());
    }
    let Some(view) = snapshot.view(&routed.call.caller.principal) else {
        return Ok(Permitted {
            permitted: routed,
            grounds: None,
        });
    };
    let call = &routed.call;
    let circumstances = Circumstances {
        now: gateway.clock.now(),
        address: call.peer,
        arguments: call.arguments.as_deref(),
    };
    let Some(action) = Action::of(call.method) else {
        return Err(route::unknown(call).into());
    };
    let (resource, _) = resource_of(snapshot, &routed.subject);
    if let Some(off) = view.off(resource, circumstances.now) {
        gateway.tell_of_switch(&off, &routed);
        return Err(route::unknown(call).into());
    }
    let decision = decide(
        gateway,
        snapshot,
        &view,
        action,
        &routed.subject,
        &circumstances,
    );
    if !decision.allowed {
        return Err(route::unknown(call).into());
    }
    let grounds = view.policies().map(|policies| Grounds {
        decision,
        revision: policies.revision().clone(),
    });
    Ok(Permitted {
        permitted: routed,
        grounds,
    })
}

/// The end of a subscription that the caller has: nothing is asked of it.
pub(crate) fn ending(routed: Box<Routed>) -> Permitted<Box<Routed>> {
    Permitted {
        permitted: routed,
        grounds: None,
    }
}

/// Whether a viewer may still hear of a resource that it watches.
pub(crate) fn hears_of_resource(gateway: &Gateway, viewer: &Viewer, uri: &str) -> bool {
    let snapshot = gateway.snapshot();
    let Some(view) = snapshot.view(&viewer.principal) else {
        return true;
    };
    let subject = route::subject_of_uri(&snapshot, uri);
    subject.is_some_and(|subject| {
        let action = Action::ResourcesSubscribe;
        hears_of(gateway, &snapshot, &view, action, &subject, viewer)
    })
}

/// Whether a viewer may still hear of a task, by its sealed id, that it watches.
pub(crate) fn hears_of_task(gateway: &Gateway, viewer: &Viewer, token: &str) -> bool {
    let snapshot = gateway.snapshot();
    let Some(view) = snapshot.view(&viewer.principal) else {
        return true;
    };
    let subject = route::subject_of_task(gateway, &snapshot, &viewer.principal, token);
    subject.is_some_and(|subject| {
        let action = Action::TasksGet;
        hears_of(gateway, &snapshot, &view, action, &subject, viewer)
    })
}

/// Whether a viewer may have the action on something at this moment.
fn hears_of(
    gateway: &Gateway,
    snapshot: &Snapshot,
    view: &View,
    action: Action,
    subject: &Subject,
    viewer: &Viewer,
) -> bool {
    let circumstances = viewer.circumstances(gateway);
    let (resource, _) = resource_of(snapshot, subject);
    view.off(resource, circumstances.now).is_none()
        && decide(gateway, snapshot, view, action, subject, &circumstances).allowed
}

/// What a call is about for the rules, and where it stands in the catalog.
fn resource_of<'s>(
    snapshot: &'s Snapshot,
    subject: &'s Subject,
) -> (&'s Resource, Option<(Kind, usize)>) {
    match subject {
        Subject::Listed(kind, at) => {
            let item = &snapshot.catalog.items(*kind)[*at].item;
            (&item.resource, Some((*kind, *at)))
        }
        Subject::Unlisted(resource) => (&**resource, None),
    }
}

/// The answer on an action, and on the one that it needs besides.
fn decide(
    gateway: &Gateway,
    snapshot: &Snapshot,
    view: &View,
    action: Action,
    subject: &Subject,
    circumstances: &Circumstances<'_>,
) -> Arc<Decision> {
    let (resource, listed) = resource_of(snapshot, subject);
    let by_policy = view.decide(snapshot, action, resource, listed, circumstances);
    let has_policies = by_policy.is_some();
    let mut decision = by_policy.unwrap_or_else(|| view.permits_all().clone());
    if decision.allowed
        && let Some(needed) = needed(action, &resource.target)
        && let Some(possible) = view.ask(needed, resource, Ask::Possible, circumstances)
        && !possible.allowed
    {
        decision = Arc::new(possible);
    }
    // A tool or prompt that nobody listed can't be told from one that is not there, and must not
    // be: its server would answer otherwise than this gateway does.
    let by_name = matches!(resource.target, Target::Tool(_) | Target::Prompt);
    if decision.allowed && by_name && listed.is_none() {
        decision = Arc::new(Decision::default());
    }
    if has_policies {
        gateway.metrics.policy(answer(&decision));
        gateway.tell_of_failures(&decision);
    }
    decision
}

/// What else has to be allowed: nobody completes the arguments of a prompt, hears of a resource or
/// asks for a result that it may not have.
fn needed(action: Action, target: &Target) -> Option<Action> {
    match (action, target) {
        (Action::Complete, Target::Prompt) => Some(Action::PromptsGet),
        (Action::Complete | Action::ResourcesSubscribe, _) => Some(Action::ResourcesRead),
        (Action::TasksGet | Action::TasksUpdate | Action::TasksCancel, _) => {
            Some(Action::ToolsCall)
        }
        _ => None,
    }
}

fn answer(decision: &Decision) -> Answer {
    if decision.allowed {
        Answer::Permitted
    } else if !decision.failures.is_empty() {
        Answer::Failed
    } else if decision.policies.is_empty() {
        Answer::Unmatched
    } else {
        Answer::Forbidden
    }
}
