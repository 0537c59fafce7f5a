use mcp_ultra_protocol::Method;

use crate::catalog;

/// A kind of answer that may be given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A resource that was read.
    Resource,
    /// A prompt.
    Prompt,
    /// Completions of an argument.
    Completion,
    /// The result of a tool.
    Tool,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Resource, Self::Prompt, Self::Completion, Self::Tool];

    /// The kind of what a method answers; `None` for those that are never kept.
    pub fn of(method: Method) -> Option<Self> {
        match method {
            Method::ResourcesRead => Some(Self::Resource),
            Method::PromptsGet => Some(Self::Prompt),
            Method::Complete => Some(Self::Completion),
            Method::ToolsCall => Some(Self::Tool),
            _ => None,
        }
    }

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Prompt => "prompt",
            Self::Completion => "completion",
            Self::Tool => "tool",
        }
    }

    /// Whether answers of this kind may be other ones where that list has changed. Completions are of
    /// prompts and of resource templates.
    pub fn is_of_list(self, list: catalog::Kind) -> bool {
        match list {
            catalog::Kind::Tool => self == Self::Tool,
            catalog::Kind::Prompt => matches!(self, Self::Prompt | Self::Completion),
            catalog::Kind::Resource | catalog::Kind::Template => {
                matches!(self, Self::Resource | Self::Completion)
            }
        }
    }
}
