//! The measuring tool: how batch size, request rate, latency, power and energy of a Triton server hang together.
//!
//! It sees the server over HTTP only.

pub mod clock;
pub mod load;
pub mod record;
