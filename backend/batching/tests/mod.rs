//! What holds for the policy, over histories of requests ([`properties`]) and against fixed settings ([`tables`]), in
//! simulated time ([`simulation`]).

mod properties;
pub mod simulation;
mod tables;
