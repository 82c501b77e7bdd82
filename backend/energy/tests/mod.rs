//! The ledger with a made device in simulated time, and with random histories.

mod books;
mod device;
mod front;
mod inbox;
mod properties;
mod simulation;
