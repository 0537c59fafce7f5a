//! Streamable HTTP towards an upstream, both eras.

mod reply;
mod session;
mod stream;
mod transport;

pub(super) use reply::Reply;
pub(crate) use reply::error_code;
pub use session::HttpSession;
pub(super) use session::no_caller;
pub use stream::HttpStream;
pub use transport::{HttpTransport, ModernHeaders};
