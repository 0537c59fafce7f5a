//! Streamable HTTP towards an upstream, both eras.

mod body;
mod pushed;
mod reply;
mod scope;
mod session;
mod stream;
mod transport;

pub(super) use reply::Reply;
pub(crate) use reply::error_code;
pub use session::HttpSession;
pub use stream::HttpStream;
pub use transport::{HttpTransport, ModernHeaders};
