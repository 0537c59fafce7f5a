/// Declares [`Method`] from one table, so that name, label and list can't drift apart.
macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A request method of any revision that the gateway knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Method {
            $($(#[$doc])* $variant,)*
        }

        impl Method {
            /// All methods.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The method named `name`.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

methods! {
    /// Legacy handshake.
    Initialize = "initialize",
    /// Legacy liveness.
    Ping = "ping",
    /// Modern discovery.
    Discover = "server/discover",
    /// Modern notification stream.
    Listen = "subscriptions/listen",
    /// Lists tools.
    ToolsList = "tools/list",
    /// Calls a tool.
    ToolsCall = "tools/call",
    /// Lists resources.
    ResourcesList = "resources/list",
    /// Lists resource templates.
    ResourceTemplatesList = "resources/templates/list",
    /// Reads a resource.
    ResourcesRead = "resources/read",
    /// Legacy subscription to a resource.
    ResourcesSubscribe = "resources/subscribe",
    /// Ends a legacy subscription.
    ResourcesUnsubscribe = "resources/unsubscribe",
    /// Lists prompts.
    PromptsList = "prompts/list",
    /// Renders a prompt.
    PromptsGet = "prompts/get",
    /// Completes an argument.
    Complete = "completion/complete",
    /// Sets the legacy log level of a session.
    SetLevel = "logging/setLevel",
    /// Polls a task.
    TasksGet = "tasks/get",
    /// Gives input to a task (extension `io.modelcontextprotocol/tasks`).
    TasksUpdate = "tasks/update",
    /// Cancels a task.
    TasksCancel = "tasks/cancel",
    /// Waits for the result of a legacy task (2025-11-25).
    TasksResult = "tasks/result",
    /// Lists legacy tasks (2025-11-25).
    TasksList = "tasks/list",
}

impl Method {
    /// Where the body holds what `Mcp-Name` mirrors: the key in `params`
    /// (2026-07-28, Streamable HTTP, Standard Request Headers; Tasks extension).
    pub fn name_key(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead => Some("uri"),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some("taskId"),
            _ => None,
        }
    }

    /// Whether the result carries `ttlMs` and `cacheScope` (2026-07-28, Caching).
    pub fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::Discover
                | Self::ToolsList
                | Self::PromptsList
                | Self::ResourcesList
                | Self::ResourceTemplatesList
                | Self::ResourcesRead
        )
    }

    /// Whether the answer may be `input_required` (2026-07-28, MRTR, Supported Requests).
    pub fn may_require_input(self) -> bool {
        matches!(
            self,
            Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead
        )
    }
}
