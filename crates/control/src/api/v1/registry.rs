//! `/api/v1/servers`, `/api/v1/policies`, `/api/v1/flags`: what is in the registry, beside what the file
//! has. They are the gateway's, of no tenant.
//!
//! The three are one thing with three names, and so are their endpoints; only the actions and the
//! words of their descriptions differ.

use axum::Json;
use mcp_ultra_domain::{
    policy::{Action, Policies},
    registry::{Entry, Kind},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        Api,
        caller::Caller,
        page::{Limit, List},
        problem::Problem,
        revision::{MeantOrNew, Shown, Tag},
    },
    registry::{EntryView, Meant, PastView, Wanted},
};

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// `next` of the page before.
    after: Option<String>,
    /// The most entries of a page: 1 to 200, usually 50.
    limit: Option<u32>,
}

/// What is to be put.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PutRegistryEntry)]
struct Body {
    /// What a file would have: the section of one server (YAML or JSON, as in `servers` of the
    /// configuration), a text of policies in Cedar, or the definition of one flag in flagd's JSON.
    text: String,
}

/// A page of them.
type Entries = List<EntryView>;
/// The changes of one.
type Changes = List<PastView>;

/// Whose the endpoints are.
struct Of {
    kind: Kind,
    read: Action,
    manage: Action,
}

/// Whoever asks for a change.
struct Asked<'a> {
    api: &'a Api,
    caller: &'a Caller,
    meant: &'a MeantOrNew,
    manage: Action,
}

impl Meant<Problem> for Asked<'_> {
    fn check(&self, there: Option<&Entry>) -> Result<(), Problem> {
        let there = there.map(|entry| Tag::of(entry.revision));
        self.meant.check(there.as_ref())
    }

    fn may_still(&self, policies: &Policies) -> bool {
        self.caller.might(self.api, policies, self.manage)
    }
}

fn tag(view: &EntryView) -> Tag {
    match view.revision {
        Some(revision) => Tag::of(revision),
        None => Tag::quoted("\"file\"".to_owned()),
    }
}

fn shown(view: EntryView) -> Shown<EntryView> {
    Shown::new(tag(&view), view)
}

impl Of {
    async fn list(
        &self,
        api: &Api,
        caller: &Caller,
        which: Which,
    ) -> Result<Json<Entries>, Problem> {
        let limit = Limit::of(which.limit)?;
        caller.may_for_all(api, self.read)?;
        let all = api.registry.list(self.kind).await?;
        let after = which.after.unwrap_or_default();
        let rest = all.into_iter().filter(|one| one.name > after);
        Ok(Json(List::cut(limit, rest, |one| one.name.clone())))
    }

    async fn show(
        &self,
        api: &Api,
        caller: &Caller,
        name: &str,
    ) -> Result<Shown<EntryView>, Problem> {
        caller.may_for_all(api, self.read)?;
        Ok(shown(api.registry.get(self.kind, name).await?))
    }

    async fn history(
        &self,
        api: &Api,
        caller: &Caller,
        name: &str,
    ) -> Result<Json<Changes>, Problem> {
        caller.may_for_all(api, self.read)?;
        let past = api.registry.history(self.kind, name).await?;
        let all = Limit::of(Some(200))?;
        Ok(Json(List::cut(all, past, |one| one.revision.to_string())))
    }

    async fn change(
        &self,
        api: &Api,
        caller: &Caller,
        (name, text): (&str, Option<&str>),
        meant: &MeantOrNew,
        dry_run: bool,
    ) -> Result<Shown<EntryView>, Problem> {
        caller.may_for_all(api, self.manage)?;
        let wanted = Wanted {
            kind: self.kind,
            name,
            text,
            by: caller.principal().id(),
            dry_run,
        };
        let asked = Asked {
            api,
            caller,
            meant,
            manage: self.manage,
        };
        let view = api.registry.change(wanted, &asked).await?;
        if !dry_run {
            let (kind, what) = (self.kind.as_str(), text.map_or("taken away", |_| "put"));
            tracing::info!(
                kind,
                name,
                what,
                "an administrator has changed the registry"
            );
        }
        Ok(shown(view))
    }
}

/// The endpoints of one kind.
macro_rules! resource {
    (
        $module:ident, $tag:tt, $kind:ident, $read:ident, $manage:ident,
        list: $list:tt $list_doc:tt,
        show: $show:tt $show_doc:tt,
        put: $put:tt $put_doc:tt,
        remove: $remove:tt $remove_doc:tt,
        history: $history:tt $history_doc:tt,
    ) => {
        pub(super) mod $module {
            use axum::{Json, extract::State};
            use mcp_ultra_domain::{policy::Action, registry::Kind};
            use utoipa_axum::{router::OpenApiRouter, routes};

            use super::{Body, Changes, EntryView, Entries, Of, Which};
            use crate::api::{
                Api,
                caller::Caller,
                input::{DryRun, Identifier, Input, Parameters},
                problem::Problem,
                revision::{IfMatch, MeantOrNew, Shown},
            };

            const OF: Of = Of {
                kind: Kind::$kind,
                read: Action::$read,
                manage: Action::$manage,
            };

            pub(in crate::api::v1) fn routes() -> OpenApiRouter<Api> {
                OpenApiRouter::new()
                    .routes(routes!(list))
                    .routes(routes!(show, put, remove))
                    .routes(routes!(history))
            }

            #[doc = $list_doc]
            #[utoipa::path(
                get,
                path = "/",
                operation_id = $list,
                tag = $tag,
                params(Which),
                responses(
                    (status = 200, description = "A page", body = Entries),
                    Problem,
                ),
                security(("bearer" = [])),
            )]
            async fn list(
                State(api): State<Api>,
                caller: Caller,
                Parameters(which): Parameters<Which>,
            ) -> Result<Json<Entries>, Problem> {
                OF.list(&api, &caller, which).await
            }

            #[doc = $show_doc]
            #[utoipa::path(
                get,
                path = "/{id}",
                operation_id = $show,
                tag = $tag,
                params(Identifier),
                responses(
                    (status = 200, description = "The entry", body = EntryView, headers(("ETag" = String, description = "Its revision"))),
                    Problem,
                ),
                security(("bearer" = [])),
            )]
            async fn show(
                State(api): State<Api>,
                caller: Caller,
                Identifier(name): Identifier,
            ) -> Result<Shown<EntryView>, Problem> {
                OF.show(&api, &caller, &name).await
            }

            #[doc = $put_doc]
            #[utoipa::path(
                put,
                path = "/{id}",
                operation_id = $put,
                tag = $tag,
                params(Identifier, DryRun, MeantOrNew),
                request_body = Body,
                responses(
                    (status = 200, description = "The entry as it is, or would be, now", body = EntryView, headers(("ETag" = String, description = "Its revision"))),
                    Problem,
                ),
                security(("bearer" = [])),
            )]
            async fn put(
                State(api): State<Api>,
                caller: Caller,
                Parameters(query): Parameters<DryRun>,
                Identifier(name): Identifier,
                meant: MeantOrNew,
                Input(body): Input<Body>,
            ) -> Result<Shown<EntryView>, Problem> {
                let wanted = (&*name, Some(&*body.text));
                OF.change(&api, &caller, wanted, &meant, query.dry_run).await
            }

            #[doc = $remove_doc]
            #[utoipa::path(
                delete,
                path = "/{id}",
                operation_id = $remove,
                tag = $tag,
                params(Identifier, DryRun, IfMatch),
                responses(
                    (status = 200, description = "The entry as it was, or as it is for a dry run", body = EntryView, headers(("ETag" = String, description = "Its revision"))),
                    Problem,
                ),
                security(("bearer" = [])),
            )]
            async fn remove(
                State(api): State<Api>,
                caller: Caller,
                Parameters(query): Parameters<DryRun>,
                Identifier(name): Identifier,
                meant: IfMatch,
            ) -> Result<Shown<EntryView>, Problem> {
                let meant = MeantOrNew::from(meant);
                OF.change(&api, &caller, (&name, None), &meant, query.dry_run).await
            }

            #[doc = $history_doc]
            #[utoipa::path(
                get,
                path = "/{id}/history",
                operation_id = $history,
                tag = $tag,
                params(Identifier),
                responses(
                    (status = 200, description = "The changes, the last one first, at most 100", body = Changes),
                    Problem,
                ),
                security(("bearer" = [])),
            )]
            async fn history(
                State(api): State<Api>,
                caller: Caller,
                Identifier(name): Identifier,
            ) -> Result<Json<Changes>, Problem> {
                OF.history(&api, &caller, &name).await
            }
        }
    };
}

resource! {
    servers, "servers", Server, AdminServersRead, AdminServersManage,
    list: "listServers" "The servers of the file and of the registry, by their names.",
    show: "getServer" "One server, and where it is from.",
    put: "putServer" "Puts a server into the registry, or another one in its place: all gateways use it within a second. What the file has can't be changed.",
    remove: "removeServer" "Takes a server out of the registry. Calls that it is answering are finished.",
    history: "getServerHistory" "What the server was before.",
}

resource! {
    policies, "policies", Policy, AdminPoliciesRead, AdminPoliciesManage,
    list: "listPolicies" "The policies of the files and of the registry, by their names.",
    show: "getPolicy" "One text of policies, and where it is from.",
    put: "putPolicy" "Puts policies into the registry, or others in their place: all gateways decide by them within a second. What a file has can't be changed.",
    remove: "removePolicy" "Takes policies out of the registry.",
    history: "getPolicyHistory" "What the policies were before.",
}

resource! {
    flags, "flags", Flag, AdminFlagsRead, AdminFlagsManage,
    list: "listFlags" "The feature flags of the files and of the registry, by their keys.",
    show: "getFlag" "One feature flag, and where it is from.",
    put: "putFlag" "Puts a feature flag into the registry, or another one in its place: all gateways go by it within a second. What a file has can't be changed.",
    remove: "removeFlag" "Takes a feature flag out of the registry.",
    history: "getFlagHistory" "What the flag was before.",
}
