//! Integration tests of the gateway.

mod stdio;
mod stdio_end;
