use mcp_ultra_protocol::Method;

/// Makes [`Action`] out of one list: what is in it is decided by policies, once the schema has it
/// too.
macro_rules! actions {
    ($($(#[$doc:meta])+ $name:ident = $id:literal,)+) => {
        /// What a principal wants to do. Listing has no action: what may be called is listed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])+ $name,)+
        }

        impl Action {
            /// All of them.
            pub const ALL: [Self; [$($id),+].len()] = [$(Self::$name),+];

            /// Its id in policies: the MCP method, or what is done by the admin API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }
        }
    };
}

actions! {
    /// `tools/call`
    ToolsCall = "tools/call",
    /// `prompts/get`
    PromptsGet = "prompts/get",
    /// `resources/read`
    ResourcesRead = "resources/read",
    /// `resources/subscribe`, and a resource in `subscriptions/listen`
    ResourcesSubscribe = "resources/subscribe",
    /// `completion/complete`
    Complete = "completion/complete",
    /// `tasks/get`, and a task in `subscriptions/listen`
    TasksGet = "tasks/get",
    /// `tasks/update`
    TasksUpdate = "tasks/update",
    /// `tasks/cancel`
    TasksCancel = "tasks/cancel",
    /// See the API keys of a tenant.
    AdminKeysRead = "admin/keys/read",
    /// Make API keys of a tenant, change, rotate and revoke them.
    AdminKeysManage = "admin/keys/manage",
    /// Give an API key roles and scopes that one does not have oneself.
    AdminKeysGrantAnything = "admin/keys/grant-anything",
    /// See what people of a tenant have granted at servers.
    AdminGrantsRead = "admin/grants/read",
    /// Withdraw it.
    AdminGrantsManage = "admin/grants/manage",
    /// Make a link by which somebody of a tenant, and nobody else, connects a server.
    AdminGrantsLink = "admin/grants/link",
    /// Make one for oneself.
    AdminGrantsLinkOwn = "admin/grants/link-own",
    /// See what the callers of a tenant have open.
    AdminSessionsRead = "admin/sessions/read",
    /// End it.
    AdminSessionsEnd = "admin/sessions/end",
    /// See which callers of a tenant are blocked.
    AdminBlocksRead = "admin/blocks/read",
    /// Block callers, and let them in again.
    AdminBlocksManage = "admin/blocks/manage",
    /// See the circuit breakers of servers.
    AdminBreakersRead = "admin/breakers/read",
    /// Force them open or closed.
    AdminBreakersForce = "admin/breakers/force",
    /// Have what is kept of answers to a tenant forgotten.
    AdminCachePurge = "admin/cache/purge",
    /// See the servers of the file and the registry.
    AdminServersRead = "admin/servers/read",
    /// Put servers into the registry, change them and take them away.
    AdminServersManage = "admin/servers/manage",
    /// See the policies of the registry.
    AdminPoliciesRead = "admin/policies/read",
    /// Put policies into the registry, change them and take them away.
    AdminPoliciesManage = "admin/policies/manage",
    /// See the feature flags of the registry.
    AdminFlagsRead = "admin/flags/read",
    /// Put feature flags into the registry, change them and take them away.
    AdminFlagsManage = "admin/flags/manage",
    /// See the definitions of tools, and what waits for approval.
    AdminToolsRead = "admin/tools/read",
    /// Agree to definitions of tools, and forget those that are gone.
    AdminToolsApprove = "admin/tools/approve",
}

/// What the ids of actions of the admin API begin with.
const ADMIN: &str = "admin/";

impl Action {
    /// The action with that id.
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == id)
    }

    /// Whether it is one of the admin API, and its resource an
    /// [administration](super::Resource::administration).
    pub fn is_admin(self) -> bool {
        self.as_str().starts_with(ADMIN)
    }

    /// The action of a method that is routed to an upstream; `None` where the gateway answers
    /// itself.
    pub fn of(method: Method) -> Option<Self> {
        match method {
            Method::ToolsCall => Some(Self::ToolsCall),
            Method::PromptsGet => Some(Self::PromptsGet),
            Method::ResourcesRead => Some(Self::ResourcesRead),
            // Who may subscribe may end it.
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                Some(Self::ResourcesSubscribe)
            }
            Method::Complete => Some(Self::Complete),
            Method::TasksGet => Some(Self::TasksGet),
            Method::TasksUpdate => Some(Self::TasksUpdate),
            Method::TasksCancel => Some(Self::TasksCancel),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy::SchemaFragment;

    use super::*;
    use crate::policy::SCHEMA;

    #[test]
    fn the_schema_has_these_actions_and_no_others() {
        let (schema, _) = SchemaFragment::from_cedarschema_str(SCHEMA).unwrap();
        let schema = schema.to_json_value().unwrap();
        let declared = schema[""]["actions"].as_object().unwrap();
        // Groups apply to nothing.
        let taken = declared.iter().filter(|(_, action)| {
            let resources = action["appliesTo"]["resourceTypes"].as_array();
            resources.is_some_and(|resources| !resources.is_empty())
        });
        let taken: BTreeSet<&str> = taken.map(|(id, _)| &**id).collect();
        let ours: BTreeSet<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(taken, ours);
        for action in Action::ALL {
            let declared = &declared[action.as_str()];
            let of_admin =
                declared["appliesTo"]["resourceTypes"] == serde_json::json!(["Administration"]);
            let in_admin = declared["memberOf"].to_string().contains(r#""id":"admin""#);
            assert_eq!((of_admin, in_admin), (action.is_admin(), action.is_admin()));
        }
    }
}
