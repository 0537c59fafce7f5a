//! An upstream that is a program: started as a child, spoken to over its stdin and stdout, and
//! never left behind as an orphan.
//!
//! ```text
//! gateway ──stdin──▶ guard ──stdin──▶ COMMAND ─▶ whatever it starts
//!    ▲                                  │
//!    └────────── stdout, stderr ────────┘
//! ```
//!
//! The way in is [`StdioProcess::spawn`]. The gateway does not start COMMAND itself but a small
//! guard, [`guard::run`], which is the gateway's own binary under a hidden subcommand. The guard
//! leads a process group of its own and holds the reading end of a pipe whose only writing end is
//! in the gateway: however the gateway dies, that pipe ends and the guard ends everything COMMAND
//! has started. Output does not pass through the guard; only stdin is copied.
//!
//! Who ends what:
//!
//! | what happens | who acts |
//! |---|---|
//! | [`StdioHandle::shutdown`] | stdin closes; after the grace the guard is told to end all at once |
//! | [`StdioHandle`] dropped | the guard is told to end all at once |
//! | gateway killed (SIGKILL, out of memory) | the guard sees its stdin end: grace, SIGTERM, SIGKILL |
//! | COMMAND exits | the guard ends what COMMAND left behind, then exits with its code |
//! | guard killed by SIGKILL | the gateway kills the group and every process with the guard's mark |
//!
//! Not covered: gateway and guard killed by SIGKILL in the same instant. The children then see the
//! end of their stdin and nothing more; a container or a systemd unit kills them by cgroup.
//!
//! Not here: MCP itself (sessions, ids, eras), and when to start or stop an upstream.
//! [`supervise::Backoff`] only says how long to wait before the next start. Linux only: the guard
//! stands on child subreapers and `/proc`.

mod environment;
pub mod guard;
mod lifetime;
mod lines;
mod process;
mod process_tree;
pub mod session;
mod stderr;
pub mod supervise;
mod writer;

pub use environment::{DEFAULT_VARIABLES, default_environment};
pub use lifetime::{ProcessExit, StdioHandle};
pub use lines::{Garbage, GarbageReason, StdioEvent, StdioReader};
pub use process::{DEFAULT_MAX_LINE_BYTES, SpawnError, StdioProcess, StdioSpec, own_program};
pub use session::StdioSession;
pub use writer::{SendError, StdioWriter};
