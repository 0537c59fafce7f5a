//! The edge over real sockets on the loopback interface.

mod server;
