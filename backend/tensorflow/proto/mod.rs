//! TensorFlow's protobuf messages, declared for prost as far as this backend reads or writes them.
//!
//! A message that is only read is declared with the fields that are read; prost skips the others. A message that is
//! written again is declared whole, and what is only passed on in it stays bytes, which is how a message within a
//! message looks on the wire: nothing is lost, whatever a newer TensorFlow adds.

pub mod config;
pub mod graph;
pub mod run;
pub mod saved_model;
