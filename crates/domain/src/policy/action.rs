use mcp_ultra_protocol::Method;

/// What a principal wants to do. Listing has no action: what may be called is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `tools/call`
    ToolsCall,
    /// `prompts/get`
    PromptsGet,
    /// `resources/read`
    ResourcesRead,
    /// `resources/subscribe`, and a resource in `subscriptions/listen`
    ResourcesSubscribe,
    /// `completion/complete`
    Complete,
    /// `tasks/get`, and a task in `subscriptions/listen`
    TasksGet,
    /// `tasks/update`
    TasksUpdate,
    /// `tasks/cancel`
    TasksCancel,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ToolsCall,
        Self::PromptsGet,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::Complete,
        Self::TasksGet,
        Self::TasksUpdate,
        Self::TasksCancel,
    ];

    /// Its id in policies: the MCP method.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolsCall => "tools/call",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::Complete => "completion/complete",
            Self::TasksGet => "tasks/get",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
        }
    }

    /// The action with that id.
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == id)
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
